"""A run of the digits compared with itself, and with what another could have left."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from bitsweep import plots, tables
from bitsweep.compare import reading, table
from bitsweep.errors import UserError
from tests.workflow.checkout import DIGITS

RELAX_INT8 = ("digits", "relax", "cpu", "int8")


@pytest.fixture
def other(finished, tmp_path):
    """A copy of the results of the digits, for one test to change."""
    results = tmp_path / "other"
    ignored = shutil.ignore_patterns("wide", "logs", "*.ir", "*.params", "*.tar")
    shutil.copytree(finished.path("results"), results, ignore=ignored)
    path = results / "tables" / "summary.parquet"
    summary = tables.read_summary(path)
    tables.write(summary[summary["model"] == "digits"], path)
    return results


@pytest.fixture
def results(other, tmp_path):
    """The same once more: this run's."""
    return shutil.copytree(other, tmp_path / "results")


def compared(other, results):
    rows = table.compare(other, results)
    return rows.set_index(["model", "engine", "target", "precision"], drop=False)


def in_processes(results, speedups, digest):
    """Have relax's int8 timed in processes with these speed-ups, and its module another."""
    folder = results.joinpath(*RELAX_INT8)
    pd.DataFrame(
        [
            {"process": process, "module": module, "milliseconds": milliseconds}
            for process, speedup in enumerate(speedups)
            for module, milliseconds in (("baseline", speedup), ("candidate", 1.0))
        ]
    ).to_csv(folder / "samples.csv", index=False)
    outcome = json.loads((folder / "export.json").read_text())
    for artifact in outcome["artifacts"]:
        artifact["sha256"] = digest
    (folder / "export.json").write_text(json.dumps(outcome))


def set_row(results, name, **values):
    path = results / "tables" / "summary.parquet"
    summary = tables.read_summary(path)
    row = (summary[["model", "engine", "target", "precision"]] == list(name)).all(axis=1)
    for column, value in values.items():
        summary.loc[row, column] = value
    tables.write(summary, path)


def test_the_target_compares_with_another_run_and_once_only(digits, other):
    asked = {**DIGITS, "compare": str(other)}
    ended = digits.done("compare", config=asked)
    assert "speed: 4 incomparable, 4 inconclusive" in ended.output
    assert digits.path("results/plots/compare.png").stat().st_size
    assert "compare_table" not in digits.done("-n", "compare", config=asked).output
    shutil.copy(other / "tables" / "summary.csv", other / "tables" / "copied.csv")
    assert "compare_table" in digits.done("-n", "compare", config=asked).output


def test_a_verdict_that_is_to_fail_ends_the_target_and_leaves_the_table(digits, other):
    in_processes(other, [30.0, 30.3, 29.7, 30.0], "old")
    asked = {**DIGITS, "compare": str(other), "compare_fail_on": ["slower"]}
    ended = digits.run("compare", config=asked)
    assert ended.returncode and "digits/relax/cpu/int8 is slower" in ended.output
    rows = table.read(digits.path("results/tables/compare.csv"))
    assert (rows["speed"] == "slower").sum() == 1


@pytest.mark.parametrize("target", ["compare", "results/plots/compare.png"])
def test_without_another_run_the_target_says_what_it_lacks(digits, target):
    ended = digits.run(target, config=DIGITS)
    assert ended.returncode and "compare is not set: give the results of another" in ended.output


def test_a_run_compared_with_itself_has_no_verdict(other, results):
    rows = compared(other, results)
    assert set(rows["speed"]) <= {"same", "inconclusive", "incomparable"}
    assert set(rows["accuracy"].dropna()) == {"same"}
    assert set(rows["failure"].dropna()) == {"unmoved"}
    assert (rows["old_module_bytes"].dropna() == rows["new_module_bytes"].dropna()).all()


def test_what_is_slower_in_several_processes_is_named_and_may_fail(other, results):
    in_processes(other, [1.50, 1.51, 1.49, 1.50], "old")
    in_processes(results, [1.35, 1.36, 1.34, 1.35], "new")
    rows = compared(other, results)
    assert rows.loc[RELAX_INT8, "speed"] == "slower"
    assert rows.loc[RELAX_INT8, "ratio"] == pytest.approx(0.9, abs=0.01)
    assert any("relax/cpu/int8: slower, 0.900" in line for line in table.summary(rows))
    table.require(rows, ["broken", "less_accurate"])
    with pytest.raises(UserError, match="digits/relax/cpu/int8 is slower"):
        table.require(rows, ["slower"])


def test_the_same_module_is_never_slower(other, results):
    in_processes(other, [1.50, 1.51, 1.49, 1.50], "one")
    in_processes(results, [1.35, 1.36, 1.34, 1.35], "one")
    assert compared(other, results).loc[RELAX_INT8, "speed"] == "inconclusive"


def test_wrong_answers_are_less_accurate(other, results):
    path = results.joinpath(*RELAX_INT8, "outputs.npz")
    np.savez(path, output=np.roll(np.load(path)["output"], 1, axis=1))
    assert compared(other, results).loc[RELAX_INT8, "accuracy"] == "less_accurate"


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("cpu_model", "Another CPU", "another CPU"),
        ("cold", True, "another state of the caches"),
        ("threads", 64, "another number of threads"),
        ("weight_bits", 3, "another setting of weights' bits"),
    ],
)
def test_what_was_another_thing_is_incomparable(other, results, column, value, why):
    set_row(other, RELAX_INT8, **{column: value})
    row = compared(other, results).loc[RELAX_INT8]
    assert (row["speed"], row["why"]) == ("incomparable", why)


def test_failures_are_broken_mended_or_moved(other, results):
    refused = ("digits", "relay", "cpu", "int4")
    set_row(other, refused, error_line=1)
    assert compared(other, results).loc[refused, "failure"] == "moved"
    unmade = {"benchmark_state": "skipped", "evaluate_state": "skipped"}
    failed = {"state": "failed", "failed_stage": "compile", "error_type": "InternalError"}
    set_row(results, RELAX_INT8, **failed, **unmade)
    assert compared(other, results).loc[RELAX_INT8, "failure"] == "broken"
    assert compared(results, other).loc[RELAX_INT8, "failure"] == "mended"


def test_an_experiment_of_one_run_only_is_told(other, results):
    path = other / "tables" / "summary.parquet"
    tables.write(tables.read_summary(path).iloc[:-1], path)
    row = compared(other, results).iloc[-1]
    assert (row["speed"], row["why"]) == ("incomparable", "only in the new run")


def test_a_table_survives_its_file_and_is_drawn(other, results, tmp_path):
    rows = table.compare(other, results)
    tables.write(rows, tmp_path / "compare.csv")
    again = table.read(tmp_path / "compare.csv")
    assert table.summary(again) == table.summary(rows)
    plots.save(plots.compare.draw(again), tmp_path / "compare.png")


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def without_a_column(path):
    pd.read_parquet(path).drop(columns="cosine").to_parquet(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "has no tables/summary.parquet: the run there was not fini"),
        (cut, "summary.parquet cannot be read, it may be cut short"),
        (without_a_column, "of another version: it has no cosine"),
        (lambda path: shutil.rmtree(path.parents[1]), "there is no such folder"),
    ],
)
def test_what_cannot_be_compared_with_is_one_sentence(other, spoil, said):
    spoil(other / "tables" / "summary.parquet")
    with pytest.raises(UserError, match=said) as caught:
        reading.check(other)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_ones_own_are_refused(tmp_path, other):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        reading.check(tmp_path / "empty")
    for own in (other, other / "tables" / "summary.parquet"):
        with pytest.raises(UserError, match="is this run's own folder"):
            reading.check(own, other)


def test_a_truncated_file_of_the_other_run_is_named(other, results):
    cut(other.joinpath(*RELAX_INT8, "outputs.npz"))
    with pytest.raises(UserError, match=r"outputs\.npz cannot be read"):
        table.compare(other, results)
