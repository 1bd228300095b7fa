import re

import pytest

from bitsweep import gains
from bitsweep.outcome import Failure
from bitsweep.summary import markdown, terminal
from tests.unit import synthetic


@pytest.fixture
def told(tmp_path):
    experiments = synthetic.sweep(engines=["relay", "relax"])
    return markdown(synthetic.summarise(tmp_path, experiments))


def test_every_experiment_has_its_row(told):
    for precision in synthetic.PRECISIONS:
        assert len(re.findall(rf"^\| {precision} +\|", told, re.MULTILINE)) == 4
    for heading in ("## resnet50", "### resnet50, relay, cpu", "### digits, relax, cpu"):
        assert f"\n{heading}\n" in told


def test_nothing_missing_is_printed(told):
    assert not re.search(r"\b(nan|NaN|None|NA)\b|<NA>|\binf\b", told)


def test_untrained_weights_are_said_to_be(told):
    resnet50, digits = told.split("## digits\n")
    assert "untrained weights: seeded initialisation; accuracy has no meaning" in resnet50
    assert "untrained" not in digits
    assert "trained weights: `w.pt`" in digits


def test_failures_are_explained_one_by_one(told):
    assert told.count("failed in **compile**, at `CodeGenLLVM::BufferAccessHelper") == 4
    assert "(src/target/llvm/codegen_llvm.cc:1749)`" in told
    assert "`Check failed: value_dtype.bits() >= 8 (4 vs. 8)`" in told
    assert f"log: `{synthetic.VECTOR_BYTES.log}`" in told
    assert "| **failed@compile**" in told


def test_figures_carry_their_intervals(told):
    assert "75.30 [73.79, 77.56]" in told
    assert "0.63 [0.61, 0.64]" in told
    assert told.count("degenerate: no better than one answer for all images") == 4
    assert told.count("exact: the same outputs as PyTorch") == 4


def test_shares_of_the_images_and_differences_carry_theirs(told):
    resnet50, digits = told.split("## digits\n")
    assert "points from float32" not in resnet50.split("## How")[0]
    assert "95.3% [87.1, 98.4]" in resnet50  # of 64 images
    rows = {line.split("|")[1].strip(): line for line in digits.splitlines() if "| ok" in line}
    assert "| 92.6% [90.1, 94.5] |" in rows["int8"]
    assert " -4.6 [-6.9, -2.8]* |" in rows["int8"]
    assert " 0.0 [-0.7, 0.7] |" in rows["float32"]
    assert (
        "PyTorch's own top-1 accuracy on them is 97.2% [95.4, 98.3]; a difference from it of fewer "
        "than 6 images, 1.1 points, cannot be told from chance." in digits
    )


def test_too_few_images_tell_nothing(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"]))
    summary["images"] = 5
    assert "; a difference from it cannot be told from chance." in markdown(summary)


def test_a_difference_is_marked_only_where_it_is_more_than_chance(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"]))
    for p, mark in ((0.0501, ""), (0.0499, "*")):
        summary["accuracy_difference_p"] = p
        assert f" -4.6 [-6.9, -2.8]{mark} |" in markdown(summary)
        assert f"-4.6{mark} " in terminal(summary)


def test_what_a_constant_would_have_is_told(told):
    resnet50, digits = told.split("## digits\n")
    assert (
        "One class for all of them would have 76.6% agreement, "
        "PyTorch's mean answer 12.9 dB SQNR." in resnet50
    )
    assert "would have 10.4% agreement and 10.2% accuracy, PyTorch's mean answer 0.3 dB" in digits


def test_bits_and_what_runs_in_integers_are_told(told):
    row = next(line for line in told.splitlines() if line.startswith("| int4_in_int8 "))
    assert "| 4/4 " in row and " 75.0% |" in row


def test_how_it_was_measured(told):
    assert "Latency on AMD EPYC 9B14, compiled for `x86_64-linux-gnu znver4`" in told
    assert "360 timed runs per experiment over 20 inputs" in told
    assert "20 of 20 stopped early" in told


TIMED = (
    "Timed on AMD EPYC 9B14 (n1), 2 threads, 30 s each, caches warm, load before 0.4, "
    "other processes 1.5% and stolen 0% of the CPU time, clock 2600 MHz"
)


def test_every_table_names_its_machine_budget_and_load(told, tmp_path):
    tables = told.split("\n### ")[1:]
    assert len(tables) == 4
    assert all(f"\n\n{TIMED}.\n" in table for table in tables)
    summary = synthetic.summarise(tmp_path / "more", synthetic.sweep(["digits"]))
    assert terminal(summary).endswith(f"\n\n{TIMED}.")
    summary[["steal_percent", "others_percent", "cpu_mhz"]] = None
    summary["load_before"] = range(len(summary))
    assert terminal(summary).endswith(
        "\n\nTimed on AMD EPYC 9B14 (n1), 2 threads, 30 s each, caches warm, load before 0 to 6."
    )


def test_latencies_of_several_cpus_are_told_apart_in_one_table(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"]))
    summary.loc[summary["precision"] == "int8", "cpu_model"] = "Intel Xeon"
    told = markdown(summary)
    assert f"{TIMED} (4 of 5)." in told
    assert f"{TIMED.replace('AMD EPYC 9B14', 'Intel Xeon')} (1 of 5)." in told
    rows = {line.split("|")[1].strip(): line for line in told.splitlines() if "| ok" in line}
    for precision, row in rows.items():
        cpu = "Intel Xeon" if precision == "int8" else "AMD EPYC 9B14"
        assert row.rstrip(" |").endswith(f"on {cpu}")


def test_disturbed_latencies_and_those_without_an_interval_are_noted(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"]))
    assert "disturbed: others" not in markdown(summary)
    summary["disturbed"] = True
    bounds = ["latency_low_ms", "latency_high_ms", "speedup_low", "speedup_high"]
    summary[bounds] = None
    (row,) = (line for line in markdown(summary).splitlines() if line.startswith("| int8"))
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[4:6] == ["0.1506", "0.63"]
    assert "disturbed: others used the CPUs while it was timed" in cells


def test_figures_that_cannot_be_compared_are_warned_of(tmp_path, told):
    assert "Warning" not in told
    summary = synthetic.summarise(tmp_path / "more", synthetic.sweep())
    summary.loc[summary.index[0], "cpu_model"] = "Intel Xeon"
    assert "**Warning:** latencies of resnet50 are from different CPU models" in markdown(summary)


def test_a_clean_sweep_says_so(tmp_path):
    told = markdown(synthetic.summarise(tmp_path, synthetic.sweep(["digits"]), {}))
    assert "## What failed\n\nNothing." in told


def test_a_sweep_that_failed_altogether(tmp_path):
    awkward = Failure(kind="crash", type="SIGSEGV", message="a | b\n`c`")
    failing = {p: [("import", awkward)] for p in synthetic.PRECISIONS}
    told = markdown(synthetic.summarise(tmp_path, synthetic.sweep(), failing))
    assert "14 experiments: 0 ran" in told
    assert "crash, SIGSEGV: `` a | b `c` ``" in told
    assert "No experiment got as far as its benchmark." in told
    assert not re.search(r"\b(nan|None)\b|<NA>", told)


def test_the_terminal_has_a_row_for_each_experiment(tmp_path):
    told = terminal(synthetic.summarise(tmp_path, synthetic.sweep(["digits"])))
    table, about, _ = told.split("\n\n")
    assert about.startswith("Points: of top-1 accuracy, from float32's")
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[2:]}
    assert list(rows) == [f"digits/relay/cpu/{name}" for name in synthetic.PRECISIONS]
    assert rows["digits/relay/cpu/int4"] == ["failed@compile"]
    int8 = ["ok", "0.1506", "0.63", "92.6%", "-4.6*", "95.3%", "36.1"]
    assert rows["digits/relay/cpu/int8"][: len(int8)] == int8
    assert rows["digits/relay/cpu/int1"][0] == "degenerate"
    assert max(map(len, table.splitlines())) <= 120


def test_speed_over_the_reference_is_told_where_it_was_measured(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int8"]))
    assert "over" not in terminal(summary).splitlines()[0]
    summary["reference"] = "onnxruntime"
    for column, value in zip(
        ("speedup_vs_reference", "reference_speedup_low", "reference_speedup_high"),
        (2.5, 2.4, 2.7),
        strict=True,
    ):
        summary[column] = value
    assert "over onnxruntime" in terminal(summary).splitlines()[0]
    assert "| 2.50 [2.40, 2.70] |" in re.sub(" +", " ", markdown(summary))


def test_what_tuning_gives_is_told_where_something_is_tuned(tmp_path):
    summary = synthetic.summarise(
        tmp_path, synthetic.sweep(["digits"], precisions=["float32", "int8"])
    )
    assert "uning" not in terminal(summary)
    assert "What tuning gives" not in markdown(summary)
    assert "| over untuned |" not in re.sub(" +", " ", markdown(summary))
    summary["speedup_vs_untuned"] = [2.0, 3.0]
    summary["untuned_speedup_low"] = [1.9, 2.8]
    summary["untuned_speedup_high"] = [2.1, 3.2]
    (gain,) = gains.sentences(summary)
    assert gain in terminal(summary)
    told = re.sub(" +", " ", markdown(summary))
    assert f"## What tuning gives\n\n- {gain}.\n" in told
    assert "| over untuned |" in told
    assert "| 3.00 [2.80, 3.20] |" in told
