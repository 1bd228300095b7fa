"""What the report opens with, read as docutils reads it."""

import re

import pytest
from docutils.core import publish_doctree
from docutils.nodes import list_item, section, system_message

from bitsweep.report import opening
from tests.unit import synthetic


@pytest.fixture
def summary(tmp_path):
    precisions = ["float32", "int8", "int4", "int1"]
    return synthetic.summarise(tmp_path, synthetic.sweep(precisions=precisions))


def read(summary):
    """The sentences by model, as they are shown."""
    tree = publish_doctree(
        f"Title\n=====\n\nText.\n\n{opening(summary)}", settings_overrides={"report_level": 5}
    )
    assert not list(tree.findall(system_message))
    return {
        part["names"][0]: [item.astext() for item in part.findall(list_item)]
        for part in tree.findall(section)
    }


def test_each_model_has_its_own(summary):
    found = read(summary)
    assert list(found) == ["resnet50", "digits"]
    failed = "Failed. 1 of 4: relay/cpu/int4 in compile."
    assert all(failed in told for told in found.values())
    assert ["untrained" in " ".join(told) for told in found.values()] == [True, False]


def test_the_fastest_is_the_fastest_of_those_that_keep_the_answers(summary):
    # Faster are an accuracy that is worse by more than chance, a degenerate one, one that failed.
    of_digits = summary["model"] == "digits"
    for precision, ms in (("float32", 40.0), ("int8", 20.0), ("int1", 10.0)):
        summary.loc[of_digits & (summary["precision"] == precision), "latency_median_ms"] = ms
    first, *_ = read(summary)["digits"]
    assert first.startswith("Fastest and smallest. relay/cpu/float32: 40 ms, ")
    summary.loc[of_digits, "accuracy_difference_p"] = 0.2
    (fastest,) = (line for line in read(summary)["digits"] if line.startswith("Fastest"))
    assert fastest.startswith(
        "Fastest and smallest. relay/cpu/int8: 20 ms, 0.63 times as fast as relay's"
    )
    assert fastest.endswith("top-1 92.6% [90.1, 94.5].")


def test_the_answer_leads(summary):
    summary.loc[1, "answer"] = "resnet50 keeps 98.0 % top-1 (test: 97.9 %) on 2*2 bits_ a |weight|"
    told = read(summary)["resnet50"]
    assert told[0] == f"Fewest bits. {summary.loc[1, 'answer']} (int8)."


def test_what_nothing_is_known_of_is_not_told(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"], precisions=["int4"]))
    assert read(summary)["digits"] == ["Failed. 1 of 1: relay/cpu/int4 in compile."]


def test_a_latency_that_was_disturbed_is_said_to_be(summary):
    summary["disturbed"] = True
    assert re.search(r"ms, taken while others used the CPUs, .*MB", read(summary)["digits"][0])
    assert "Warning: latencies of digits" in publish_doctree(opening(summary)).astext()


def test_what_is_known_of_why_is_told_of_the_fastest_and_of_what_is_slower(summary):
    summary["explanation"] = [f"because {number}" for number in range(len(summary))]
    summary.loc[summary["precision"] == "int8", "accuracy_difference_p"] = 0.2
    ours = summary[summary["model"] == "digits"].set_index("precision")
    told = read(summary)["digits"]
    assert told[0].startswith("Fastest") and told[0].endswith(
        f"Why: {ours.loc['float32', 'explanation']}."
    )
    slower = [line for line in told if line.startswith("Slower than float32.")]
    assert slower == [
        f"Slower than float32. {ours.loc[precision, 'explanation']}."
        for precision in ("int8", "int1")
    ]


def test_what_tuning_gives_is_told(summary):
    of_digits = summary["model"] == "digits"
    for precision, gain in (("float32", 1.1), ("int8", 1.5)):
        row = of_digits & (summary["precision"] == precision)
        names = ["speedup_vs_untuned", "untuned_speedup_low", "untuned_speedup_high"]
        summary.loc[row, names] = [gain, gain - 0.01, gain + 0.01]
    told = read(summary)
    (line,) = (line for line in told["digits"] if line.startswith("Tuning. "))
    assert "float32 1.10x [1.09, 1.11], int8 1.50x [1.49, 1.51] as fast" in line
    assert not [line for line in told["resnet50"] if line.startswith("Tuning. ")]
