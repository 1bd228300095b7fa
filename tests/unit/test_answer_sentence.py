"""The sentence that a search ends with, clause by clause, and what contradicts it."""

import copy

import pytest

from bitsweep.answer.sentence import sentence

PLAN = {
    "layer_bits": {"conv": [1, 8], "fc": [8, 8]},
    "mean_weight_bits": 1.84,
    "uniform": None,
    "top1_accuracy": 0.991,
    "top1_agreement": 0.993,
}
UNIFORM = PLAN | {
    "layer_bits": {"conv": [2, 8], "fc": [2, 8]},
    "uniform": 2,
    "top1_accuracy": 0.99,
    "top1_agreement": 0.992,
}
FEWEST = {"minimise": "bytes", "tolerance": 0.5, "bytes": None, "latency_ms": None}
ROW = {
    "model": "digits",
    "trained": True,
    "images": 540,
    "top1_accuracy": 0.989,
    "top1_accuracy_low": 0.976,
    "top1_accuracy_high": 0.995,
    "accuracy_difference": -0.002,
    "accuracy_difference_low": -0.009,
    "accuracy_difference_high": 0.004,
    "top1_agreement": 0.992,
    "top1_agreement_low": 0.98,
    "top1_agreement_high": 0.997,
    "size_vs_float32": 0.06,
    "speedup_vs_float32": 1.21,
    "disturbed": False,
    "latency_median_ms": 0.05,
}


def report(goal=FEWEST, plan=PLAN, uniform=UNIFORM, labelled=True):
    found = {"search": goal, "images": 200, "plan": plan, "uniform": uniform}
    found = copy.deepcopy(found) | {"float32_top1_accuracy": 0.994 if labelled else None}
    if not labelled:
        for record in filter(None, (found["plan"], found["uniform"])):
            record["top1_accuracy"] = None
    return found


def goal(minimise, **more):
    return FEWEST | {"minimise": minimise, "tolerance": None} | more


UNLABELLED = {name: value for name, value in ROW.items() if "accuracy" not in name}


def test_the_whole_sentence():
    assert sentence(ROW, report()) == (
        "digits keeps 99.1 % top-1 within 0.5 points (test: 98.9 %, 95 % interval 97.6 to 99.5; "
        "540 images) on 1.8 bits a weight: 0.06 of float32's size, 1.2x as fast; the smallest "
        "uniform width that does is 2 bits"
    )


def test_without_labels_the_agreement_is_told():
    assert sentence(UNLABELLED | {"trained": False}, report(labelled=False)).startswith(
        "digits (untrained weights) agrees with float32 on 99.3 %, within 0.5 points (test: "
        "99.2 %, 95 % interval 98.0 to 99.7; 540 images) on 1.8 bits"
    )


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ({"speedup_vs_float32": None}, "weight: 0.06 of float32's size; the"),
        ({"disturbed": True}, "weight: 0.06 of float32's size; the"),
        ({"size_vs_float32": None}, "weight: 1.2x as fast; the"),
        ({"size_vs_float32": None, "speedup_vs_float32": None}, "on 1.8 bits a weight; the"),
    ],
)
def test_what_is_missing_or_was_disturbed_is_left_out(missing, told):
    assert told in sentence(ROW | missing, report())


def test_the_uniform_width_beside():
    fastest = goal("latency", tolerance=1)
    assert sentence(ROW, report(fastest)).endswith(
        "; the fastest uniform width that does is 2 bits"
    )
    assert "within 1 point (" in sentence(ROW, report(fastest))
    assert sentence(ROW, report(uniform=None)).endswith("; no uniform width does")
    narrow = UNIFORM | {"layer_bits": {"conv": [1, 4], "fc": [1, 4]}, "uniform": 1}
    assert sentence(ROW, report(uniform=narrow)).endswith("does is 1 bit beside 4-bit inputs")
    assert sentence(ROW, report(plan=UNIFORM)).endswith(
        "; that is the uniform width of 2 bits: no plan that was tried does so and is smaller"
    )


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            (-0.0051, -0.02, 0.004),
            "0.51 points below float32 (95 % interval -0.4 to 2.0): beyond the tolerance, which "
            "may be chance",
        ),
        (
            (-0.012, -0.03, -0.006),
            "1.2 points below float32 (95 % interval 0.6 to 3.0): beyond the tolerance, by more "
            "than chance",
        ),
    ],
)
def test_test_images_that_contradict_the_selection_are_told(found, told):
    names = ("accuracy_difference", "accuracy_difference_low", "accuracy_difference_high")
    contradicting = ROW | dict(zip(names, found, strict=True))
    assert sentence(contradicting, report()).endswith(f"; but on the test images it is {told}")


def test_a_difference_of_just_the_tolerance_holds():
    just = ROW | {"accuracy_difference": -0.007}  # times 100 more than 0.7, in floats
    assert "but" not in sentence(just, report(FEWEST | {"tolerance": 0.7}))


def test_an_agreement_that_is_contradicted():
    worse = UNLABELLED | {
        "top1_agreement": 0.97, "top1_agreement_low": 0.95, "top1_agreement_high": 0.98,
    }  # fmt: skip
    assert sentence(worse, report(labelled=False)).endswith(
        "; but it answers 3 % of the test images unlike float32 (95 % interval 2.0 to 5.0): "
        "beyond the tolerance, by more than chance"
    )


def test_a_budget():
    small = goal("error", bytes=2_000_000)
    told = sentence(ROW, report(small))
    assert told.startswith(
        "digits has 99.1 % top-1, 0.3 points below float32, within 2,000,000 bytes (test: 98.9 %"
    )
    assert told.endswith("; the best uniform width within that is 2 bits, with 99.0 %")
    assert sentence(ROW, report(small, uniform=None)).endswith("no uniform width is within that")
    both = goal("error", bytes=20_000, latency_ms=0.1)
    assert "within 20,000 bytes and 0.1 ms (" in sentence(ROW, report(both))
    told = sentence(UNLABELLED, report(small, labelled=False))
    assert told.startswith("digits agrees with float32 on 99.3 % within 2,000,000 bytes (")
    assert told.endswith("is 2 bits, with 99.2 %")


def test_a_budget_promises_nothing_but_what_chance_does_not_explain():
    small = report(goal("error", bytes=2_000_000))
    assert "but" not in sentence(ROW | {"accuracy_difference": -0.1}, small)
    bad = {"top1_accuracy": 0.9, "top1_accuracy_low": 0.87, "top1_accuracy_high": 0.925}
    assert sentence(ROW | bad, small).endswith(
        "; but the test images are answered worse than the selection images, more than chance"
    )


def test_a_budget_of_time_that_the_module_does_not_keep():
    fast = report(goal("error", latency_ms=0.04))
    assert sentence(ROW, fast).endswith("; but as a whole it takes 0.05 ms")
    assert "whole" not in sentence(ROW | {"latency_low_ms": 0.039}, fast)
    assert "whole" not in sentence(ROW | {"disturbed": True}, fast)
    assert "whole" not in sentence(ROW, report(goal("error", latency_ms=0.06)))


def test_what_failed_after_the_search():
    failed = {"model": "digits", "trained": True, "failed_stage": "compile"}
    assert sentence(failed, report()) == (
        "digits keeps 99.1 % top-1 within 0.5 points (failed@compile, so that no test image was "
        "answered) on 1.8 bits a weight; the smallest uniform width that does is 2 bits"
    )


def test_a_search_that_failed():
    failed = {"model": "digits", "failed_stage": "search", "error_message": "no plan\nkeeps"}
    assert sentence(failed, None) == "digits, failed@search: no plan keeps"
