"""What one run of `config/test.yaml` leaves."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bitsweep import machine, outcome, sensitivity, tables
from bitsweep.profile import table as profiles
from bitsweep.profile.operators import LAYERS
from tests.workflow.checkout import CORES, DIGITS

MODELS = ("digits", "wide")
PRECISIONS = {
    "relay": ("float32", "int8", "int4", "int2", "int1"),
    "relax": ("float32", "int8", "int4"),
}
EXPERIMENTS = [(engine, precision) for engine, names in PRECISIONS.items() for precision in names]
SENSITIVE = "int4"
EXPERIMENT_FILES = {
    "quantize": ("quantized.ir", "quantized.params", "quantized.txt", "coverage.json"),
    "compile": ("objects.tar", "module.ll", "module.s"),
    "export": ("module.so",),
    "benchmark": ("samples.csv", "latency.json"),
    "evaluate": ("outputs.npz", "quality.json"),
    "inspect": ("code.json",),
    "profile": ("operators.json",),
}
TRACE = ("torchscript.pt", "exported.pt2", "model.json")
TRACE += ("calibration.npz", "selection.npz", "reference.npz")
TRAINED = ("weights.pt", "training.json", "training.csv")
IMPORT = ("imported.ir", "imported.params", "imported.txt")
PLOTS = ("latency", "accuracy", "size", "dtypes", "outcomes", "sensitivity", "profile", "roofline")
# Where the journey ends, and with what.
BROKEN = {
    ("relay", "int4"): (
        "compile",
        "CodeGenLLVM::BufferAccessHelper",
        "src/target/llvm/codegen_llvm.cc",
        "Check failed: value_dtype.bits() >= 8 (4 vs. 8)",
    ),
    ("relay", "int2"): (
        "quantize",
        "GetVectorBytes",
        "include/tvm/runtime/data_type.h",
        "Check failed: data_bits % 8 == 0U (2 vs. 0)",
    ),
}

# One bit of weights and activations tells nothing apart.
DEGENERATE = {(model, "relay", "int1") for model in MODELS}


@pytest.fixture(scope="module")
def summary(finished):
    table = tables.read_summary(finished.path("results/tables/summary.csv"))
    return table.set_index(["model", "engine", "precision"])


def stages(model, engine, precision):
    """The stages of an experiment with the folder and the names of their artifacts."""
    yield "trace", model, TRACE
    yield "import", f"{model}/{engine}", IMPORT
    yield "calibrate", f"{model}/{engine}", ("statistics.npz",)
    for stage, names in EXPERIMENT_FILES.items():
        yield stage, f"{model}/{engine}/cpu/{precision}", names
    if (engine, precision) == ("relax", SENSITIVE):
        yield "sensitivity", f"{model}/{engine}/cpu/{precision}", ("layers.json",)


@pytest.mark.parametrize(("engine", "precision"), EXPERIMENTS)
@pytest.mark.parametrize("model", MODELS)
def test_every_stage_leaves_its_outcome_and_its_artifacts(finished, model, engine, precision):
    broken = BROKEN.get((engine, precision), (None,))[0]
    reached = True
    for stage, folder, names in stages(model, engine, precision):
        left = finished.outcome(f"{folder}/{stage}")
        state = "failed" if stage == broken else "ok" if reached else "skipped"
        reached = reached and stage != broken
        assert (left.stage, left.state) == (stage, state)
        assert left.skipped_by == (broken if state == "skipped" else None)
        assert str(left.experiment) == folder
        files = [finished.path(f"results/{folder}/{name}") for name in names]
        if state == "ok":
            recorded = {finished.path(a.path): (a.size_bytes, a.sha256) for a in left.artifacts}
            assert recorded == {
                finished.path(a.path): (a.size_bytes, a.sha256) for a in outcome.describe(files)
            }
            assert all(path.stat().st_size > 0 for path in files)
        else:
            assert left.artifacts == ()
            assert [path.stat().st_size for path in files] == [0] * len(files)


@pytest.mark.parametrize(("engine", "precision"), BROKEN)
@pytest.mark.parametrize("model", MODELS)
def test_a_failure_names_its_place_in_tvm(finished, summary, model, engine, precision):
    stage, function, file, message = BROKEN[engine, precision]
    error = finished.outcome(f"{model}/{engine}/cpu/{precision}/{stage}").error
    assert (error.kind, error.function, error.file) == ("exception", function, file)
    assert error.line > 0
    assert error.message.startswith(message)
    assert "seconds in TVM" not in error.message
    assert function in finished.path(error.log).read_text()
    row = summary.loc[model, engine, precision]
    assert (row["state"], row["failed_stage"]) == ("failed", stage)


def test_nothing_is_left_but_what_the_rules_declare(finished):
    declared = {
        finished.path(f"results/{folder}/{name}")
        for model in MODELS
        for engine, precision in EXPERIMENTS
        for stage, folder, names in stages(model, engine, precision)
        for name in (f"{stage}.json", *names)
    }
    declared |= {finished.path(f"results/digits/{n}") for n in TRAINED}
    found = {
        path
        for model in MODELS
        for path in finished.path(f"results/{model}").rglob("*")
        if path.is_file()
    }
    assert found == declared
    assert not [p for p in finished.path("results").rglob("*") if p.name.startswith(".")]


def test_tables_agree_and_plots_are_images(finished, summary):
    folder = finished.path("results/tables")
    parquet = tables.read_summary(folder / "summary.parquet").set_index(summary.index.names)
    pd.testing.assert_frame_equal(parquet, summary)
    assert list(summary.index) == [(m, *experiment) for m in MODELS for experiment in EXPERIMENTS]
    failures = pd.read_csv(folder / "failures.csv")
    found = failures[["model", "engine", "precision", "stage"]].itertuples(index=False, name=None)
    assert list(found) == [
        (model, *experiment, stage)
        for model in MODELS
        for experiment, (stage, *_) in BROKEN.items()
    ]
    markdown = (folder / "summary.md").read_text()
    assert markdown.count("**failed@compile**") == len(MODELS)
    for plot in PLOTS:
        with Image.open(finished.path(f"results/plots/{plot}.png")) as image:
            image.load()
            assert (image.format, min(image.size) > 200) == ("PNG", True)


def test_float32_answers_as_pytorch_and_what_is_no_better_than_a_constant_is_told(summary):
    for model in MODELS:
        for engine in PRECISIONS:
            baseline = summary.loc[model, engine, "float32"]
            assert baseline["sqnr_db"] > 80
            assert baseline["top1_agreement"] == 1
            assert not baseline["degenerate"]
    for key, row in summary[summary["state"] == "ok"].iterrows():
        assert row["degenerate"] == (key in DEGENERATE), key
    for engine in PRECISIONS:
        accuracy = summary.loc["digits", engine]["top1_accuracy"]
        assert accuracy["float32"] >= 0.98
        assert accuracy["int8"] >= 0.95
    assert summary.loc["digits", "relax", "int4"]["top1_accuracy"] >= 0.9
    assert summary.loc["wide"]["top1_accuracy"].isna().all()


def test_int8_is_smaller_and_computes_in_int8(summary):
    for model in MODELS:
        for engine in PRECISIONS:
            int8, float32 = (summary.loc[model, engine, p] for p in ("int8", "float32"))
            # Beside what addresses bytes, which every module has.
            assert (
                int8["llvm_i8"] / int8["llvm_float"]
                > 2 * float32["llvm_i8"] / float32["llvm_float"]
            )
            assert int8["integer_macs_percent"] > 50
            assert float32["integer_macs_percent"] == 0
    # A network of a few thousand parameters is mostly code.
    size = summary.loc["wide"]["module_size_bytes"]
    for engine in PRECISIONS:
        assert size[engine, "int8"] < 0.4 * size[engine, "float32"]
    assert size["relax", "int4"] < 0.8 * size["relax", "int8"]


def test_bits_of_weights_and_activations_are_columns(summary):
    bits = summary.loc["digits"][["weight_bits", "activation_bits"]]
    assert bits.loc["relax", "int4"].tolist() == [4, 4]
    assert bits.loc["relay", "float32"].tolist() == [32, 32]


def test_the_sensitivity_of_every_layer_is_told(finished):
    table = sensitivity.read(finished.path("results/tables/sensitivity.csv"))
    assert (table["state"] == "ok").all()
    layers = table.groupby("model", sort=False)["layer"].count()
    assert list(layers.index) == list(MODELS)
    assert layers["wide"] == 4
    assert table["output_sqnr_db"].notna().all()
    assert table.set_index("model").loc["digits", "top1_accuracy"].between(0.5, 1).all()


def test_every_operator_is_told_with_its_layer_beside_the_machines_peaks(finished, summary):
    layers = profiles.read(finished.path("results/tables/layers.csv"))
    of_experiments = layers.groupby(["model", "engine", "precision"], sort=False)
    assert list(of_experiments.groups) == list(summary.index)
    for key, operators in of_experiments:
        if key[1:] in BROKEN:
            assert operators["failed_stage"].tolist() == [BROKEN[key[1:]][0]]
            continue
        assert operators["share"].sum() == pytest.approx(1)
        computing = operators[operators["kind"].isin(LAYERS)]
        assert computing["macs"].notna().all()
        assert computing["peak_gigaproducts_per_second"].notna().any()
        quantized = (computing["arithmetic"] != "float").any()
        assert quantized == (key[2] != "float32")
        assert ("conversion" in set(operators["kind"])) == quantized
    # Relax's names are its own passes', Relay's are found by shapes.
    named = layers.dropna(subset=["layer"]).set_index(["engine", "precision"])
    for model, of_model in named.groupby("model"):
        macs = {
            key: dict(zip(of_key["layer"], of_key["macs"], strict=True))
            for key, of_key in of_model.groupby(level=[0, 1])
        }
        for (_, precision), known in macs.items():
            expected = macs["relax", "float32"]
            assert {name: expected[name] for name in known} == known, (model, precision)
            assert len(known) >= len(expected) - 1  # Relay's dense layer has no name
    markdown = finished.path("results/tables/summary.md").read_text()
    for _, row in summary[summary["state"] == "ok"].iterrows():
        assert f"- {row['explanation']}." in markdown
    assert summary.loc["digits", "relay", "int8"]["explanation"].count("float32") >= 1


def test_every_sample_is_kept(finished):
    for model in MODELS:
        for engine, precision in EXPERIMENTS:
            if (engine, precision) in BROKEN:
                continue
            folder = finished.path(f"results/{model}/{engine}/cpu/{precision}")
            samples = pd.read_csv(folder / "samples.csv")
            latency = json.loads((folder / "latency.json").read_text())
            assert len(samples) == 2 * latency["inputs"] * latency["runs_per_input"]
            assert (latency["inputs"], latency["runs_per_input"]) == (4, 6)
            assert (samples["milliseconds"] > 0).all()
            per_module = samples.groupby("module")["milliseconds"]
            assert per_module.count().to_dict() == {"baseline": 24, "candidate": 24}
            median = np.median(per_module.get_group("candidate"))
            assert latency["latency"]["median_ms"] == pytest.approx(median)


def test_the_benchmark_has_the_machine_to_itself(finished, summary):
    assert summary["threads"].dropna().between(1, min(CORES, machine.cores_allowed())).all()
    jobs = intervals(finished)
    timing = [log for log in jobs if log.endswith(("/benchmark.log", "/profile.log", "peaks.log"))]
    assert len(timing) == 2 * len(MODELS) * len(EXPERIMENTS) + 1
    for alone in timing:
        start, end = jobs.pop(alone)
        assert not [log for log, (s, e) in jobs.items() if s < end and start < e]


def intervals(finished):
    """When each job, by its log, started and ended, as Snakemake records it with each file."""
    folder = finished.path(".snakemake/metadata")
    records = [json.loads(path.read_text()) for path in folder.rglob("*") if path.is_file()]
    return {record["log"][0]: (record["starttime"], record["endtime"]) for record in records}


def told_of(model, engine, precision):
    """The outcome of an experiment, as the table on the terminal has it."""
    if (engine, precision) in BROKEN:
        return [f"failed@{BROKEN[engine, precision][0]}"]
    return ["degenerate" if (model, engine, precision) in DEGENERATE else "ok"]


def test_the_terminal_tells_each_failure_in_a_line_and_nothing_of_tvms_stack(sweep):
    output = sweep[1].output
    _, end = output.split("steps (100%) done")
    _, end = end.split("\n\n", 1)
    table, end = end.split("\n\n", 1)
    points, end = end.split("\n\n", 1)
    assert points.startswith("Points: of top-1 accuracy")
    assert end.startswith("Timed on ")
    assert [line.split()[:2] for line in table.splitlines()[2:]] == [
        [f"{model}/{engine}/cpu/{precision}", *told_of(model, engine, precision)]
        for model in MODELS
        for engine, precision in EXPERIMENTS
    ]
    failures = [line for line in end.splitlines() if " failed@" in line]
    assert [line.split(": ", 2)[0] for line in failures] == [
        f"{model}/{engine}/cpu/{precision} failed@{stage}"
        for model in MODELS
        for (engine, precision), (stage, *_) in BROKEN.items()
    ]
    for line in failures:
        _, engine, _, precision = line.split()[0].split("/")
        _, function, file, message = BROKEN[engine, precision]
        assert f"{function} ({file}:" in line
        assert message in line
    # As they came, with figures: one line an experiment, the same for those that failed.
    count = len(MODELS) * len(EXPERIMENTS)
    came = [
        line.removeprefix(f"[{number}/{count}] ")
        for number, line in enumerate(
            (line for line in output.splitlines() if f"/{count}] " in line), start=1
        )
    ]
    assert len(came) == count
    assert {line for line in came if " failed@" in line} == set(failures)
    assert sum(" ok: " in line and " ms, " in line and " MB" in line for line in came) == (
        count - len(failures)
    )
    for noise in ("Traceback", "Stack trace", "TVMError", "tvm::"):
        assert noise not in output
    # Other tests run beside the benchmarks.
    warnings = [line for line in output.splitlines() if "Warning" in line]
    assert all(re.match("Warning: latencies of .+ while others used", w) for w in warnings)


def test_a_failed_experiment_is_no_error_of_a_job(sweep):
    assert sweep[1].errors() == []


def test_check_accepts_what_is_expected(finished):
    finished.done("check")


def test_check_names_what_is_not_as_expected(finished):
    expect = [
        {"engine": "relay", "precision": "int8", "outcome": "failed@compile"},
        {"engine": "relay", "precision": "int4", "outcome": "failed@compile"},
        {"model": "digits", "engine": "relay", "precision": "int1", "outcome": "degenerate"},
        {"model": "wide", "engine": "relay", "precision": "*1", "outcome": "degenerate"},
    ]
    ended = finished.run("check", config={"expect": expect})
    assert ended.returncode != 0
    (sentence,) = ended.errors()
    assert sentence.startswith("Error: check: 4 of 16 experiments are not as expected: ")
    for model in MODELS:
        (found,) = told_of(model, "relay", "int8")
        assert f"{model}/relay/cpu/int8 is {found}, expected failed@compile" in sentence
        assert f"{model}/relay/cpu/int2 is failed@quantize, expected ok" in sentence


def test_the_report_shows_tables_and_plots_without_a_network(digits):
    nowhere = "http://127.0.0.1:9"
    digits.done(
        "--report",
        "report.html",
        config=DIGITS,
        http_proxy=nowhere,
        https_proxy=nowhere,
        all_proxy=nowhere,
    )
    report = digits.path("report.html").read_text()
    for plot in PLOTS:
        assert f"results/plots/{plot}.png" in report
        assert f'"plot": "{plot}"' in report
    tables_ = ("summary", "failures", "layers", "sensitivity")
    for name in (*(f"{table}.csv" for table in tables_), "summary.parquet", "summary.md"):
        assert f"results/tables/{name}" in report
    for told in (
        '"Plots"',
        '"Tables"',
        "the median latency of one image",
        "One row for each of the 8",
    ):
        assert told in report
    opening = report.split("var workflow_desc = ")[1].split("</script>")[0]
    for told in ("digits", "Fastest", "Failed.", "relay/cpu/int4 in compile"):
        assert told in opening
    assert opening.count("data:image/png;base64,") == len(PLOTS)
    assert digits.path("profiles/default/report.css").read_text() in report
