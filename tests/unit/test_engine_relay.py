"""The tasks of the Relay engine, and how they fail, in real TVM processes on a small network."""

import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from torch import nn

from bitsweep import config
from bitsweep.child import Limits
from bitsweep.engines import task
from bitsweep.errors import UserError
from tests.unit import relay

SHAPE = (3, 8, 8)
INT8 = config.Relay.model_validate({"bits": 8, "storage": "int8"}).settings()


class Net(nn.Module):
    """One convolution with batch norm, a residual addition, a dense layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8))
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.body(x) + x)
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A folder with a traced network, its reference, and its import."""
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    network = Net().eval()
    images = torch.randn(12, *SHAPE)
    with torch.no_grad():
        torch.jit.trace(network, images[:1]).save(str(folder / "torchscript.pt"))
        np.savez(folder / "reference.npz", input=images, output=network(images))
    np.savez(folder / "calibration.npz", input=images[:4])
    ended = relay.run(
        "frontend",
        folder,
        inputs={"torchscript": "torchscript.pt", "reference": "reference.npz"},
        outputs={"ir": "imported.ir", "params": "imported.params", "text": "imported.txt"},
    )
    assert ended.failure is None, (folder / "log").read_text()
    return folder


@pytest.fixture
def folder(traced, tmp_path):
    """A copy of that folder, for one test alone."""
    return shutil.copytree(traced, tmp_path / "net with a space")


def quantize(folder, precision, **more):
    return relay.run(
        "quantize",
        folder,
        inputs={
            "ir": "imported.ir",
            "params": "imported.params",
            "text": "imported.txt",
            "calibration": "calibration.npz",
        },
        outputs={
            "ir": "quantized.ir",
            "params": "quantized.params",
            "text": "quantized.txt",
            "coverage": "coverage.json",
        },
        precision=precision,
        **{"target": relay.NATIVE, **more},
    )


def compile_(folder, **more):
    return relay.run(
        "compile",
        folder,
        inputs={"ir": "quantized.ir", "params": "quantized.params"},
        outputs={"objects": "objects.tar", "llvm_ir": "module.ll", "assembly": "module.s"},
        **{"target": relay.NATIVE, **more},
    )


def link(folder):
    return relay.run(
        "link", folder, inputs={"objects": "objects.tar"}, outputs={"module": "module.so"}
    )


@pytest.mark.parametrize("precision", [None, INT8], ids=["float32", "int8"])
def test_a_module_answers_as_pytorch_does(folder, precision):
    assert quantize(folder, precision).failure is None
    assert compile_(folder).failure is None
    assert link(folder).failure is None
    module = {"module": "module.so", "reference": "reference.npz"}
    assert relay.run("run_once", folder, inputs=module).failure is None
    relay.run("answer", folder, inputs=module, outputs={"answers": "answers.npz"})
    expected = np.load(folder / "reference.npz")["output"]
    difference = np.abs(np.load(folder / "answers.npz")["output"] - expected).max()
    scale = np.abs(expected).max()
    assert difference <= (1e-5 if precision is None else 0.1) * scale
    assert ("int8" in (folder / "quantized.txt").read_text()) == (precision is not None)


@pytest.mark.parametrize(
    ("precision", "integer"),
    [(None, 0), (INT8, 8 * 8 * 64 * 9), ({**INT8, "skip_conv_layers": []}, (3 + 8) * 8 * 64 * 9)],
    ids=["float32", "first layer left out", "int8"],
)
def test_coverage_counts_what_runs_in_integers(folder, precision, integer):
    """The two convolutions are 3x3 on 8x8 images; the dense layer, 8 to 5, stays in float."""
    assert quantize(folder, precision).failure is None
    coverage = json.loads((folder / "coverage.json").read_text())
    assert coverage["macs"] == (3 + 8) * 8 * 64 * 9 + 8 * 5
    assert coverage["integer_macs"] == integer
    assert coverage["float_operators"]["nn.dense"] == 1
    assert coverage["float_operators"].get("nn.conv2d", 0) == 2 - (integer > 0) - (integer > 40000)


def test_the_benchmark_leaves_raw_samples(folder):
    quantize(folder, None)
    compile_(folder)
    link(folder)
    settings = {"inputs": 3, "runs": 6, "warmup": 1, "budget_seconds": 60, "seed": 0}
    inputs = {"module": "module.so", "baseline": "module.so"}
    samples = {"samples": "samples.csv"}
    assert not relay.run(
        "benchmark", folder, inputs=inputs, outputs=samples, benchmark=settings, input_shape=SHAPE
    ).failure
    lines = (folder / "samples.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 6 * 2
    assert all(float(line.split(",")[-1]) > 0 for line in lines[1:])


def test_an_import_that_computes_something_else_fails(folder):
    reference = dict(np.load(folder / "reference.npz"))
    reference["output"] *= 1.001
    np.savez(folder / "reference.npz", **reference)
    failure = relay.run(
        "frontend",
        folder,
        inputs={"torchscript": "torchscript.pt", "reference": "reference.npz"},
        outputs={"ir": "a", "params": "b", "text": "c"},
    ).failure
    assert (failure.kind, failure.type) == ("exception", "Mismatch")
    assert failure.function == "relay.frontend.from_pytorch"
    assert "0.001 of its scale" in failure.message


def test_a_refusal_names_its_place_in_tvm(folder):
    # Without a convolution left out: the first one is the one that this network has.
    int4 = {**INT8, "skip_conv_layers": []}
    for kind in ("input", "weight"):
        int4[kind] = {"bits": 4, "storage": "int4"}
    assert quantize(folder, int4).failure is None
    failure = compile_(folder).failure
    assert (failure.kind, failure.function) == ("exception", "CodeGenLLVM::BufferAccessHelper")
    assert (failure.file, failure.message) == (
        "src/target/llvm/codegen_llvm.cc",
        "Check failed: value_dtype.bits() >= 8 (4 vs. 8)",
    )
    assert failure.log == str(folder / "log")


def test_kl_divergence_is_a_failure_inside_tvm(folder):
    failure = quantize(folder, {**INT8, "calibrate_mode": "kl_divergence"}).failure
    assert (failure.type, failure.file) == ("TypeError", "tvm/relay/quantize/_calibrate.py")


def test_a_crash_of_llvm_names_the_function_under_way(folder):
    quantize(folder, None)
    # LLVM ends the process where functions return floats and the CPU has no register for them.
    without_sse = {**relay.NATIVE, "cpu": "x86-64", "attributes": ["-sse", "-sse2"]}
    failure = compile_(folder, target=without_sse).failure
    assert (failure.kind, failure.function) == ("crash", "Module.get_source")
    assert "SSE register return with SSE disabled" in failure.message


def test_a_segmentation_fault_is_a_crash(folder, monkeypatch):
    """As a fault in TVM ends its process: by the signal, with a function of TVM's under way."""
    function = folder / "under_way"
    code = f"import os, signal; open({str(function)!r}, 'w').write('relay.build')"
    code += "; os.kill(os.getpid(), signal.SIGSEGV)"
    run = task.child.run

    def faulting(command, *, environment, **rest):
        function.unlink(missing_ok=True)
        function.symlink_to(environment[task.UNDER_WAY])
        return run([sys.executable, "-c", code], environment=environment, **rest)

    monkeypatch.setattr(task.child, "run", faulting)
    failure = compile_(folder).failure
    assert (failure.kind, failure.type, failure.function) == ("crash", "SIGSEGV", "relay.build")


def test_a_time_out_is_a_failure_of_its_kind(folder):
    failure = quantize(folder, INT8, limits=Limits(seconds=2, memory_bytes=2**32)).failure
    assert (failure.kind, failure.message) == ("timeout", "stopped after 2 s")


def test_a_memory_limit_is_a_failure_of_its_kind(folder):
    failure = quantize(folder, INT8, limits=Limits(seconds=300, memory_bytes=60 << 20)).failure
    assert (failure.kind, failure.message) == ("memory", "stopped above 60 MiB")


def test_an_error_of_ours_is_no_outcome(folder):
    (folder / "calibration.npz").unlink()
    with pytest.raises(UserError, match=r"quantize of engine relay broke: FileNotFoundError"):
        quantize(folder, INT8)


def test_a_kill_from_outside_is_no_outcome(folder, monkeypatch):
    """The machine's out-of-memory killer must not become a verdict on a precision."""
    monkeypatch.setattr(
        task.child,
        "run",
        lambda *_, **__: task.child.Ending(-9, 1.0, 0, None),
    )
    with pytest.raises(UserError, match="killed from outside by SIGKILL"):
        quantize(folder, INT8)


def test_two_tvms_stay_apart(tmp_path):
    """This process's TVM is another than the engine's, and neither sees the other's files."""
    path = str(relay.engine().python_path[0])
    relay.run("probe", tmp_path, outputs={"versions": "versions.json"}, python_path=path)
    assert json.loads((tmp_path / "versions.json").read_text())["tvm"].startswith("0.16")
    code = "import sys, tvm; print(tvm.__version__, [m for m in sys.modules if 'relay' in m])"
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert own.stdout.strip() == "0.27.0.post1 []"


def test_objects_are_a_tar_of_object_files(folder):
    quantize(folder, None)
    compile_(folder)
    with tarfile.open(folder / "objects.tar") as archive:
        assert {name.rsplit(".", 1)[-1] for name in archive.getnames()} <= {"o", "c", "json"}
