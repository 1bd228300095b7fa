import json

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from bitsweep import pairs, tables
from bitsweep.errors import UserError
from bitsweep.outcome import KEYS, STAGES, Failure
from tests.unit import synthetic


@pytest.fixture
def summary(tmp_path):
    return synthetic.summarise(tmp_path, synthetic.sweep(engines=["relay", "relax"]))


def _row(summary, precision, model="resnet50", engine="relay"):
    return summary.set_index(["model", "engine", "precision"]).loc[(model, engine, precision)]


def test_one_row_per_experiment_in_the_order_given(tmp_path):
    experiments = synthetic.sweep(precisions=["int2", "float32", "int8"])[::-1]
    summary = synthetic.summarise(tmp_path, experiments)
    given_keys = [tuple(experiment.model_dump().values()) for experiment in experiments]
    assert list(summary[list(KEYS)].itertuples(index=False, name=None)) == given_keys


def test_a_failed_row_says_which_part_failed(summary):
    row = _row(summary, "int4")
    assert (row["state"], row["failed_stage"]) == ("failed", "compile")
    expected = synthetic.BUFFER_ACCESS.model_dump(exclude_none=True)
    assert {field: row[f"error_{field}"] for field in expected} == expected
    assert row["error_limit"] is pd.NA
    assert [row[f"{s}_state"] for s in ("quantize", "compile", "inspect")] == [
        "ok",
        "failed",
        "skipped",
    ]


def test_a_failed_row_has_no_figures_and_an_ok_row_no_error(summary):
    figures = ["latency_median_ms", "top1_agreement", "module_size_bytes", "llvm_i8"]
    skipped = [f"{stage}_seconds" for stage in ("compile", "evaluate", "inspect")]
    assert _row(summary, "int2")[figures + skipped].isna().all()
    assert _row(summary, "int8")[figures].notna().all()
    assert _row(summary, "int8")[["failed_stage", "error_kind", "other_failures"]].isna().all()


def test_figures_come_from_the_files_of_their_stage(summary):
    row = _row(summary, "int8")
    assert row["latency_median_ms"] == 75.3
    assert row["speedup_vs_float32"] == pytest.approx(47.1 / 75.3)
    assert row["runs"] == 360
    assert row["size_vs_float32"] == pytest.approx(0.27)
    assert row["module_size_bytes"] == 2700
    assert (row["llvm_i8"], row["int_dot_instructions"]) == (5200, 640)
    assert row["peak_rss_bytes"] == 100_000_000 * len(STAGES)
    assert (row["weight_bits"], row["activation_bits"]) == (8, 8)
    assert row["integer_macs_percent"] == 75
    assert _row(summary, "float32")["integer_macs_percent"] == 0
    assert _row(summary, "int2")["integer_macs_percent"] is pd.NA
    assert row["mean_weight_bits"] == 5.5
    assert _row(summary, "float32")["mean_weight_bits"] is pd.NA
    assert _row(summary, "float32")["speedup_vs_float32"] is pd.NA
    assert _row(summary, "int1")["cosine"] is pd.NA  # it was not a number


def test_accuracy_is_there_only_with_labels(summary):
    assert _row(summary, "int8")[["top1_accuracy", "constant_accuracy"]].isna().all()
    assert _row(summary, "int8")["constant_agreement"] == 0.766
    assert _row(summary, "int8", model="digits")["constant_accuracy"] == 0.102
    labelled = _row(summary, "int8", model="digits")
    assert 0.9 < labelled["top1_accuracy_low"] < labelled["top1_accuracy"]
    assert labelled["top1_accuracy"] < labelled["top1_accuracy_high"] < 0.95
    assert tables.share(labelled, "top1_accuracy") == "92.6% [90.1, 94.5]"
    differences = [f"accuracy_difference{end}" for end in ("_low", "", "_high")]
    assert labelled[differences].is_monotonic_increasing
    assert labelled[["images_gained", "images_lost"]].tolist() == [3, 28]
    assert labelled["accuracy_difference"] == -25 / 540
    bounds = labelled["accuracy_difference_low"], labelled["accuracy_difference_high"]
    assert bounds == pairs.difference_interval(3, 28, 540)
    assert labelled["accuracy_difference_p"] == pytest.approx(binomtest(3, 31).pvalue)
    assert _row(summary, "int8")[differences].isna().all()


def test_a_failed_import_fails_every_precision(tmp_path):
    failing = {p: [("import", synthetic.TIMEOUT)] for p in synthetic.PRECISIONS}
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"]), failing)
    assert set(summary["failed_stage"]) == {"import"}
    assert set(summary["error_log"]) == {synthetic.TIMEOUT.log}
    assert set(summary["error_limit"]) == {1800} == set(tables.failures(summary)["limit"])
    assert summary["weights"].notna().all()


def test_the_last_stages_fail_singly(tmp_path):
    crash = Failure(kind="crash", type="SIGSEGV", message="ended\rby SIGSEGV")
    failing = {"int8": [("benchmark", synthetic.TIMEOUT), ("inspect", crash)]}
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"]), failing)
    row = _row(summary, "int8", model="digits")
    assert row["failed_stage"] == "benchmark"
    assert row["top1_agreement"] == 0.953
    assert row["latency_median_ms"] is pd.NA
    failures = tables.failures(summary)
    assert list(failures["stage"]) == ["benchmark", "inspect"]
    assert list(failures["kind"]) == ["timeout", "crash"]
    assert list(failures["file"].isna()) == [True, True]
    tables.write(failures, tmp_path / "failures.csv")
    assert len(pd.read_csv(tmp_path / "failures.csv")) == 2


def test_failures_are_those_that_happened(summary):
    failures = tables.failures(summary)
    assert len(failures) == (summary["state"] == "failed").sum() == 8
    assert set(failures["stage"]) == {"compile", "quantize"}
    assert set(failures["line"]) == {1749, 283}
    nothing = tables.failures(summary[summary["state"] == "ok"])
    assert nothing.empty and list(nothing) == list(failures)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_written_summary_reads_back_the_same(summary, tmp_path, suffix):
    tables.write(summary, tmp_path / f"summary{suffix}")
    pd.testing.assert_frame_equal(tables.read_summary(tmp_path / f"summary{suffix}"), summary)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    message=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    line=st.none() | st.integers(1, 10**9),
)
@example(message="half a line\rthe other half\r\n", line=None)
@example(message="\v", line=1)
@example(message="None", line=1)
def test_any_message_survives_csv_and_parquet(tmp_path, message, line):
    failure = Failure(kind="exception", type="NA", message=message, function="null", line=line)
    experiments = synthetic.sweep(["digits"], precisions=["int8"])
    summary = synthetic.summarise(tmp_path, experiments, {"int8": [("compile", failure)]})
    read = []
    for suffix in (".csv", ".parquet"):
        tables.write(summary, tmp_path / f"summary{suffix}")
        read.append(tables.read_summary(tmp_path / f"summary{suffix}"))
    pd.testing.assert_frame_equal(*read)
    pd.testing.assert_frame_equal(read[0], summary)
    assert "\n" not in tables.one_line(summary.iloc[0])


def test_booleans_and_counts_keep_their_type(summary):
    assert summary["degenerate"].dtype == "boolean"
    assert summary["llvm_i8"].dtype == "Int64"
    assert summary["trained"].tolist()[:1] == [False]


def test_one_line_names_the_place(summary):
    assert tables.one_line(_with_keys(summary, "int4")) == (
        "resnet50/relay/cpu/int4 failed@compile: CodeGenLLVM::BufferAccessHelper "
        "(src/target/llvm/codegen_llvm.cc:1749): Check failed: value_dtype.bits() >= 8 (4 vs. 8)"
    )
    assert tables.one_line(_with_keys(summary, "int1")).endswith(
        "top-1 agreement 1.6% [0.3, 8.4] (a constant's 76.6%), SQNR -1.4 dB, 0.00270 MB, degenerate"
    )
    assert "<NA>" not in "".join(tables.one_line(row) for _, row in summary.iterrows())


def _with_keys(summary, precision):
    return summary[summary["precision"] == precision].iloc[0]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (("f", "a.cc", 3), "f (a.cc:3)"),
        (("f", None, None), "f"),
        ((None, "a.cc", 3), "a.cc:3"),
        ((None, "a.cc", None), "a.cc"),
        ((None, None, None), ""),
    ],
)
def test_place_tells_what_is_known(place, told):
    assert tables.place(*place) == told


def test_a_missing_baseline_leaves_the_size_ratio_out(tmp_path, monkeypatch):
    code = synthetic._code
    monkeypatch.setattr(synthetic, "_code", lambda experiment: code(experiment) | {"float32": None})
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"]))
    assert summary["size_vs_float32"].isna().all()
    assert summary["module_size_bytes"].notna().all()


def test_the_speeds_over_other_modules_have_their_columns(tmp_path, monkeypatch):
    latency = synthetic._latency
    speedup = {"median": 2.0, "low": 1.9, "high": 2.2}
    beside = {"reference_speedup": speedup, "untuned_speedup": {**speedup, "median": 2.1}}
    monkeypatch.setattr(synthetic, "_latency", lambda experiment: latency(experiment) | beside)
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"]))
    row = summary.iloc[0]
    assert (row["speedup_vs_reference"], row["reference"]) == (2.0, "onnxruntime")
    assert (row["reference_speedup_low"], row["reference_speedup_high"]) == (1.9, 2.2)
    assert row["speedup_vs_untuned"] == 2.1
    assert (row["untuned_speedup_low"], row["untuned_speedup_high"]) == (1.9, 2.2)


def test_a_corrupt_artifact_is_the_users_to_mend(tmp_path):
    experiments = synthetic.sweep(["digits"], precisions=["int8"])
    synthetic.leave(tmp_path, experiments)
    path = tmp_path / "digits/relay/cpu/int8/latency.json"
    payload = json.loads(path.read_text())
    path.write_text(json.dumps(payload | {"threads": 64}))
    with pytest.raises(UserError, match=r"latency\.json is corrupt"):
        synthetic.collected(tmp_path, experiments)


def test_a_missing_or_misplaced_outcome_is_the_users_to_mend(tmp_path):
    experiments = synthetic.sweep(["digits"], precisions=["int8"])
    synthetic.leave(tmp_path, experiments)
    path = tmp_path / "digits/relay/cpu/int8/evaluate.json"
    path.write_bytes(path.with_name("inspect.json").read_bytes())
    with pytest.raises(UserError, match=r"evaluate\.json is not an outcome of evaluate"):
        synthetic.collected(tmp_path, experiments)
    path.unlink()
    with pytest.raises(UserError, match=r"evaluate\.json is missing"):
        synthetic.collected(tmp_path, experiments)


def test_latencies_of_different_cpus_are_warned_of(summary):
    assert tables.warnings(summary) == []
    measured = summary["latency_median_ms"].notna() & (summary["model"] == "digits")
    unmeasured = summary.index[summary["latency_median_ms"].isna()][0]
    summary.loc[unmeasured, "cpu_model"] = "what was not timed does not matter"
    assert tables.warnings(summary) == []
    summary.loc[summary.index[measured][-1], "cpu_model"] = "Intel Xeon"
    (sentence,) = tables.warnings(summary)
    assert f"digits are from different CPU models: AMD EPYC 9B14 ({measured.sum() - 1}), " in (
        sentence
    )
    assert "Intel Xeon (1); compare speed-ups only" in sentence


def test_what_a_latency_was_measured_under_is_told(summary):
    names = ["budget_seconds", "disturbed", "steal_percent", "others_percent", "load_before"]
    assert _row(summary, "int8")[[*names, "cpu_mhz"]].tolist() == [30, False, 0, 1.5, 0.4, 2600]
    assert _row(summary, "int2")[names].isna().all()


def test_a_figure_without_an_interval_and_a_machine_that_told_nothing(tmp_path, monkeypatch):
    latency = synthetic._latency

    def bare(experiment):
        payload = latency(experiment)
        payload["latency"] |= {"median_low_ms": None, "median_high_ms": None}
        payload["speedup"] = {"median": 0.5, "low": None, "high": None}
        return payload | dict.fromkeys(("disturbed", "steal_percent", "others_percent", "cpu_mhz"))

    monkeypatch.setattr(synthetic, "_latency", bare)
    row = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"])).iloc[0]
    assert row["speedup_vs_float32"] == 0.5 and row["latency_median_ms"] > 0
    assert row[["latency_low_ms", "latency_high_ms", "speedup_low", "speedup_high"]].isna().all()
    assert row[["disturbed", "steal_percent", "others_percent", "cpu_mhz"]].isna().all()


def test_disturbed_latencies_are_warned_of(summary):
    disturbed = (summary["model"] == "digits") & (summary["precision"] == "int8")
    summary.loc[disturbed, "disturbed"] = True
    summary.loc[summary["latency_median_ms"].isna(), "disturbed"] = pd.NA
    (sentence,) = tables.warnings(summary)
    assert sentence.startswith("latencies of digits were taken while others used the CPUs: ")
    assert ": relay/cpu/int8, relax/cpu/int8;" in sentence
    assert tables.one_line(summary[disturbed].iloc[0]).endswith(", disturbed")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_summary_of_another_version_is_told(summary, tmp_path, suffix):
    path = tmp_path / f"summary{suffix}"
    tables.write(summary.drop(columns="disturbed"), path)
    with pytest.raises(UserError, match="is of another version: it has no disturbed"):
        tables.read_summary(path)
