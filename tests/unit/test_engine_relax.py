"""The tasks of the Relax engine, and how they fail, in real TVM processes on a small network."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from bitsweep import latency, machine, metrics
from bitsweep.child import Limits
from bitsweep.engines import lockstep, task
from bitsweep.engines.relax.executor import Executor
from bitsweep.engines.relax.settings import Relax
from bitsweep.errors import UserError
from bitsweep.relax import plan
from tests.unit import tasks

RELAX = tasks.Tasks(lambda: task.Engine("relax", (), {}))
MACS = (3 + 8) * 8 * 64 * 9 + 8 * 5
W8A8, W2A8 = {"rounding": "nearest"}, {"weight_bits": 2}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A folder with an exported network, its reference, and its import."""
    folder = tmp_path_factory.mktemp("net")
    network, image = tasks.trace(folder)
    torch.export.save(torch.export.export(network, (image,)), folder / "exported.pt2")
    ended = RELAX.import_(folder, exported="exported.pt2")
    assert ended.failure is None, (folder / "log").read_text()
    assert RELAX.calibrate(folder).failure is None, (folder / "log").read_text()
    return folder


@pytest.fixture
def folder(traced, tmp_path):
    """A copy of that folder, for one test alone."""
    return shutil.copytree(traced, tmp_path / "net with a space")


@pytest.mark.parametrize(
    ("precision", "near", "integer"),
    [(None, 1e-5, 0), (W8A8, 0.08, MACS), (W2A8, 0.15, MACS)],
    ids=["float32", "w8a8", "w2a8"],
)
def test_a_module_answers_as_pytorch_does(folder, precision, near, integer):
    assert RELAX.quantize(folder, precision).failure is None, (folder / "log").read_text()
    assert RELAX.compile_(folder).failure is None, (folder / "log").read_text()
    assert RELAX.link(folder).failure is None
    expected = np.load(folder / "reference.npz")["output"]
    of_mean = np.abs(expected - expected.mean(axis=0)).max() / np.abs(expected).max()
    assert RELAX.difference(folder) <= near < of_mean
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["macs"], coverage["integer_macs"]) == (MACS, integer)
    assert ("uint8" in (folder / "quantized.txt").read_text()) == (precision is not None)
    with tarfile.open(folder / "objects.tar") as archive:
        assert {name.rsplit(".", 1)[-1] for name in archive.getnames()} == {"o"}
    assert "target triple" in (folder / "module.ll").read_text()
    assert "ret" in (folder / "module.s").read_text()
    of_layers = {
        operator["layer"]: (operator["kind"], operator["macs"], operator["arithmetic"])
        for operator in RELAX.profile(folder)["operators"]
        if operator["macs"]
    }
    arithmetic = "integer" if integer else "float"
    assert of_layers == {
        "stem.0": ("convolution", 3 * 8 * 64 * 9, arithmetic),
        "body": ("convolution", 8 * 8 * 64 * 9, arithmetic),
        "head": ("dense", 8 * 5, arithmetic),
    }


def test_a_module_of_bfloat16_answers_nearly_as_pytorch_does(folder):
    precision = Relax(floats="bfloat16").settings()
    assert RELAX.quantize(folder, precision).failure is None, (folder / "log").read_text()
    coverage = json.loads((folder / "coverage.json").read_text())
    assert (coverage["macs"], coverage["integer_macs"]) == (MACS, 0)
    assert (coverage["mean_weight_bits"], coverage["float_operators"]["conv2d"]) == (16, 3)
    text = (folder / "quantized.txt").read_text()
    assert re.search(r"p\d: R\.Tensor\(\(\d[^)]*\), dtype=\"bfloat16\"\)", text)
    assert RELAX.compile_(folder).failure is None, (folder / "log").read_text()
    has = "avx512_bf16" in machine.read_cpuinfo().flags
    assert ("bfloat" in (folder / "module.ll").read_text()) == has
    assert RELAX.link(folder).failure is None
    assert 1e-6 < RELAX.difference(folder) <= 0.02
    layers = [one for one in RELAX.profile(folder)["operators"] if one["macs"]]
    told = [(one["layer"], one["kind"], one["arithmetic"]) for one in layers]
    assert told == [
        ("stem.0", "convolution", "bfloat16"),
        ("body", "convolution", "bfloat16"),
        ("head", "dense", "bfloat16"),
    ]


@pytest.fixture(scope="module")
def linked(traced, tmp_path_factory):
    """A folder with a float32 module."""
    folder = shutil.copytree(traced, tmp_path_factory.mktemp("linked") / "net")
    for task_ in (lambda: RELAX.quantize(folder, None), lambda: RELAX.compile_(folder)):
        assert task_().failure is None
    assert RELAX.link(folder).failure is None
    return folder


def test_modules_are_timed_in_lockstep_in_each_set_of_processes(linked):
    for number in range(1, 3):
        assert RELAX.time(linked, processes=2, reference=RELAX.engine()) is None
        with (linked / "samples.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == number * 3 * 6 * 3
    assert Counter((row["process"], row["module"]) for row in rows) == {
        (process, module): 3 * 6
        for process in "01"
        for module in ("candidate", "baseline", "reference")
    }
    assert all(float(row["milliseconds"]) > 0 for row in rows)
    figures = latency.summarize(linked / "samples.csv", tasks.timed(processes=2))
    assert figures["runs_per_input"] == 12 and not figures["stopped_by_budget"]


@pytest.mark.parametrize(("task_", "alone"), [("benchmark", True), ("profile", False)])
def test_tasks_that_run_a_module_load_the_runtime_alone(task_, alone):
    code = f"""if True:
        from bitsweep.engines.relax import process
        process.prepare({task_!r})
        import bitsweep.engines.relax.{task_}
        from tvm.base import _LOADED_LIBS
        print("tvm_compiler" not in _LOADED_LIBS)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == f"{alone}\n"


def test_caches_are_emptied_before_each_run_where_they_are_to_be_cold(linked):
    executor = Executor(str(linked / "module.so"))
    executor.set_input(np.zeros(tasks.SHAPE, np.float32))
    emptied = []
    assert len(executor.time(3, before=lambda: emptied.append(None))) == len(emptied) == 3
    assert len(executor.time(2)) == 2 and len(emptied) == 3
    assert RELAX.time(linked, processes=1, cold=True) is None


def test_all_but_the_module_that_is_timed_are_stopped(linked, monkeypatch):
    seen = []

    def measure(modules, settings, samples, processes):
        def running():
            return [psutil.Process(p).status() != psutil.STATUS_STOPPED for p in processes]

        assert not any(running())
        for module in modules.values():
            monkeypatch.setattr(os, "read", lambda *args: seen.append(running()) or read(*args))
            assert len(module.time(0, 2)) == 2
            monkeypatch.setattr(os, "read", read)
            assert not any(running())
        Path(samples).touch()

    read = os.read
    monkeypatch.setattr(lockstep.measurement, "measure", measure)
    assert RELAX.time(linked, processes=1) is None
    assert seen == [[True, False], [False, True]]


@pytest.mark.parametrize("broken", ["candidate", "baseline", "reference"])
def test_a_module_that_cannot_be_timed_is_a_failure_that_names_it(linked, broken):
    (linked / "broken.so").write_text("no library")
    module = {"candidate": "module", "reference": "reference_module"}.get(broken, broken)
    paths = {module: "broken.so"}
    failure = RELAX.time(linked, processes=1, reference=RELAX.engine(), **paths)
    assert (failure.kind, failure.function) == ("exception", "DSOLibrary::Load")
    assert failure.message.startswith(f"of the {broken}: ") == (broken != "candidate")
    assert failure.log == str(linked / "log")


def test_a_benchmark_that_takes_too_long_is_a_failure(linked):
    samples = linked / "samples.csv"
    samples.unlink(missing_ok=True)
    limits = Limits(seconds=4, memory_bytes=2**32)
    failure = RELAX.time(linked, processes=1, limits=limits, inputs=1000, runs=3000)
    assert (failure.kind, failure.limit) == ("timeout", 4)
    assert not samples.exists()  # while it was measured, not after


def test_an_import_that_computes_something_else_fails(folder):
    reference = dict(np.load(folder / "reference.npz"))
    reference["output"] *= 1.001
    np.savez(folder / "reference.npz", **reference)
    failure = RELAX.import_(folder, exported="exported.pt2").failure
    assert (failure.kind, failure.type) == ("exception", "Mismatch")
    assert failure.function == "relax.frontend.torch.from_exported_program"
    assert "0.001 of its scale" in failure.message


class Unknown(nn.Module):
    """A network with an operator that TVM's importer does not have."""

    def forward(self, x):
        return torch.linalg.svdvals(x).flatten(1)


def test_an_operator_that_tvm_does_not_import_is_a_failure_inside_tvm(folder):
    exported = torch.export.export(Unknown(), (torch.randn(1, *tasks.SHAPE),))
    torch.export.save(exported, folder / "unknown.pt2")
    failure = RELAX.import_(folder, exported="unknown.pt2").failure
    assert failure.kind == "exception"
    assert failure.file.startswith("tvm/relax/frontend/torch/")
    assert "svd" in failure.message


def test_a_crash_of_llvm_names_the_function_under_way(folder):
    RELAX.quantize(folder, None)
    # LLVM ends the process where functions return floats and the CPU has no register for them.
    without_sse = {**tasks.NATIVE, "cpu": "x86-64", "attributes": ["-sse", "-sse2"]}
    failure = RELAX.compile_(folder, target=without_sse).failure
    assert failure.kind == "crash"
    assert "SSE" in failure.message


def test_a_time_out_is_a_failure_of_its_kind(folder):
    failure = RELAX.quantize(folder, W8A8, limits=Limits(seconds=0.25, memory_bytes=2**32)).failure
    assert (failure.kind, failure.message) == ("timeout", "stopped after 0.25 s")


def test_layers_are_named_as_in_pytorch(folder):
    text = (folder / "imported.txt").read_text()
    for name in ("stem.0", "body", "head"):
        assert f'"name": "{name}"' in text or f'"name":"{name}"' in text or f'name="{name}"' in text


def refused(failure, function, told, type_="NotQuantizable"):
    assert (failure.kind, failure.type) == ("refused", type_)
    assert (failure.function, failure.file, failure.line) == (function, None, None)
    assert re.fullmatch(told, failure.message)


def test_what_our_quantizer_refuses_is_an_outcome(folder):
    failure = RELAX.quantize(folder, {"skip_layers": ["stem9"]}).failure
    told = r"skip_layers: no layer is called 'stem9'; near it: stem\.0"
    refused(failure, "bitsweep.relax.quantize", told)
    names = ("stem.0", "body", "head")
    failure = RELAX.quantize(folder, {"skip_layers": names}).failure
    told = "the module has nothing to quantize: every layer is skipped"
    refused(failure, "bitsweep.relax.quantize", told)


def test_what_sensitivity_refuses_is_an_outcome(folder):
    inputs = {name: f"imported.{name}" for name in ("ir", "params")}
    inputs |= {name: f"{name}.npz" for name in ("calibration", "reference", "statistics")}
    failure = RELAX.run(
        "sensitivity",
        folder,
        inputs=inputs,
        outputs={"layers": "layers.json"},
        precision={"skip_layers": ["tail"]},
        images=2,
    ).failure
    refused(failure, "bitsweep.relax.sensitivity", "skip_layers: no layer is called 'tail'; .*")


SEARCH = {"weight_bits": [8, 2], "input_bits": [8], "images": 5, "settings": {}}


SEARCHED = {name: f"imported.{name}" for name in ("ir", "params")}
SEARCHED |= {name: f"{name}.npz" for name in ("calibration", "statistics")}
SEARCHED["selection"] = "reference.npz"


def costs(folder, **search):
    return RELAX.run(
        "costs",
        folder,
        inputs=SEARCHED,
        outputs={"costs": "layer_costs.json"},
        search={**SEARCH, **search},
    ).failure


def test_costs_are_the_same_to_the_byte_each_time(folder):
    assert costs(folder) is None, (folder / "log").read_text()
    first = (folder / "layer_costs.json").read_bytes()
    found = json.loads(first)
    assert found["images"] == 5
    assert [layer["layer"] for layer in found["layers"]] == ["stem.0", "body", "head"]
    assert all(len(layer["candidates"]) == 2 for layer in found["layers"])
    assert costs(folder) is None
    assert (folder / "layer_costs.json").read_bytes() == first


def test_what_costs_refuse_is_an_outcome(folder):
    failure = costs(folder, settings={"skip_layers": ["tail"]})
    refused(failure, "bitsweep.relax.layer_costs", "skip_layers: no layer is called 'tail'; .*")


def frontier(folder):
    assert costs(folder) is None, (folder / "log").read_text()
    return RELAX.run(
        "frontier",
        folder,
        inputs=SEARCHED | {"costs": "layer_costs.json"},
        outputs={"plans": "plans.json"},
        settings={},
    ).failure


def search(folder, **goal):
    goal = {"tolerance": None, "bytes": None, "latency_ms": None} | goal
    inputs = {"costs": "layer_costs.json", "frontier": "plans.json"}
    if goal["latency_ms"]:
        inputs["times"] = "layer_times.json"
    return RELAX.run(
        "search",
        folder,
        inputs=SEARCHED | inputs,
        outputs={"plan": "plan.json", "report": "search_report.json"},
        settings={},
        search=goal,
    ).failure


def test_a_searched_plan_is_quantized_like_one_of_the_users(folder):
    assert frontier(folder) is None, (folder / "log").read_text()
    plans = json.loads((folder / "plans.json").read_text())
    assert [plan["uniform"] for plan in plans if plan["uniform"]] == [8, 2]
    budget = (plans[0]["bytes"] + plans[-1]["bytes"]) // 2
    assert search(folder, minimise="error", bytes=budget) is None, (folder / "log").read_text()
    first = [(folder / name).read_bytes() for name in ("plan.json", "search_report.json")]
    report = json.loads(first[1])
    chosen = {layer: tuple(bits) for layer, bits in report["plan"]["layer_bits"].items()}
    assert plan.read(folder / "plan.json") == chosen
    assert {8, 2} == {weights for weights, _ in chosen.values()}
    assert report["plan"]["bytes"] <= budget
    # What the real network is found to be, is what quantize makes of the plan.
    assert RELAX.quantize(folder, {}, plan="plan.json").failure is None, (
        folder / "log"
    ).read_text()
    mean = json.loads((folder / "coverage.json").read_text())["mean_weight_bits"]
    assert mean == report["plan"]["mean_weight_bits"]
    assert RELAX.compile_(folder).failure is None and RELAX.link(folder).failure is None
    answers = RELAX.answers(folder)
    error = metrics.kl_divergence(answers, np.load(folder / "reference.npz")["output"])
    assert error == pytest.approx(report["plan"]["error"], rel=0.05)
    assert search(folder, minimise="error", bytes=budget) is None
    again = [(folder / name).read_bytes() for name in ("plan.json", "search_report.json")]
    assert again == first


def test_a_latency_is_searched_for_in_the_times_of_layers(folder):
    assert frontier(folder) is None, (folder / "log").read_text()
    layers = {
        "stem.0": {"8": 3.0, "2": 2.0},
        "body": {"8": 5.0, "2": 1.0},
        "head": {"8": 1, "2": 1},
    }
    times = {"layers": layers, "rest_ms": 0.5}
    (folder / "layer_times.json").write_text(json.dumps(times))
    assert search(folder, minimise="error", latency_ms=5.6) is None, (folder / "log").read_text()
    assert plan.read(folder / "plan.json")["body"][0] == 2
    report = json.loads((folder / "search_report.json").read_text())
    assert report["plan"]["latency_ms"] == 5.5
    failure = search(folder, minimise="error", latency_ms=4.4)
    told = r"no plan has at most 4\.4 ms: the least that there is is 4\.5 ms"
    refused(failure, "bitsweep.search", told, "NoPlan")


def test_a_search_that_nothing_meets_says_the_best_that_was_found(folder):
    assert frontier(folder) is None, (folder / "log").read_text()
    failure = search(folder, minimise="error", bytes=10)
    told = r"no plan has at most 10 bytes: the least that there is is [\d,]+ bytes"
    refused(failure, "bitsweep.search", told, "NoPlan")


def time_layers(folder, target=tasks.NATIVE, **search):
    return RELAX.run(
        "time_layers",
        folder,
        inputs={"statistics": "statistics.npz", "ir": "imported.ir", "params": "imported.params"},
        outputs={"times": "layer_times.json"},
        search={**SEARCH, "settings": {"skip_layers": ["body"]}, **search},
        benchmark={
            "processes": 1,
            "inputs": 3,
            "runs": 2,
            "warmup": 1,
            "budget_seconds": 60,
            "seed": 0,
        },
        input_shape=tasks.SHAPE,
        target=target,
    ).failure


# with 1 bit of both, on bit planes where they pay
@pytest.mark.parametrize(("fewest", "input_bits"), [(2, 8), (1, 1)])
def test_every_quantized_layer_is_timed_at_every_width(folder, fewest, input_bits):
    failure = time_layers(folder, weight_bits=[8, fewest], input_bits=[input_bits])
    assert failure is None, (folder / "log").read_text()
    found = json.loads((folder / "layer_times.json").read_text())
    assert found["rounds"] == 3 * 2
    assert found["disturbed"] in (True, False, None)
    assert list(found["layers"]) == ["stem.0", "head"]
    for times in found["layers"].values():
        assert list(times) == ["8", str(fewest)]
        assert min(times.values()) > 0
    assert found["rest_ms"] >= 0
    assert list(found["whole_ms"]) == ["8", str(fewest)]
    assert min(found["whole_ms"].values()) > 0


def test_layers_of_another_machine_are_not_timed(folder):
    arm = {**tasks.NATIVE, "triple": "aarch64-linux-gnu", "cpu": "cortex-a72"}
    failure = time_layers(folder, arm)
    assert (failure.kind, failure.file) == ("exception", "tvm/support/cc.py"), failure


def test_an_error_of_ours_is_no_outcome(folder):
    calibration = np.load(folder / "calibration.npz")["input"]
    np.savez(folder / "calibration.npz", input=calibration[:0])
    with pytest.raises(UserError, match="quantize of engine relax broke: ValueError: the calib"):
        RELAX.quantize(folder, W8A8)


def test_the_probe_records_what_the_environment_has(tmp_path):
    RELAX.run("probe", tmp_path, outputs={"versions": "versions.json"}, python_path=None)
    versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["tvm"].startswith("0.27")
    assert versions["tvm_ffi"] == "0.1.14.post1"
    assert int(versions["llvm"]) >= 17


def test_settings_are_read_without_a_tvm():
    """The config needs them in processes that have the other engine's TVM, or none."""
    code = "import sys, bitsweep.config; print([m for m in sys.modules if m.startswith('tvm')])"
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert own.stdout.strip() == "[]"
