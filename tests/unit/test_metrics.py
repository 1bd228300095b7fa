"""Metrics on answers worked out by hand, and the laws they must keep."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep.metrics import compare


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def scores(images=20, classes=10, seed=0):
    return np.random.default_rng(seed).normal(size=(images, classes))


seeds = st.integers(0, 2**32 - 1)


def test_by_hand():
    reference = [[3.0, 1.0, 0.0], [0.0, 4.0, 0.0]]
    outputs = [[3.0, 1.0, 1.0], [5.0, 4.0, 0.0]]
    assert compare(outputs, reference, [0, 0]) == {
        "images": 2,
        "top1_agreement": 0.5,
        "top5_agreement": 1.0,
        "top1_accuracy": 1.0,
        "top5_accuracy": 1.0,
        "reference_top1_accuracy": 0.5,
        "exact": False,
        "sqnr_db": pytest.approx(10 * math.log10(1.0)),
        "cosine": pytest.approx((10 / math.sqrt(110) + 4 / math.sqrt(41)) / 2),
        "max_abs_error": 5.0,
        "degenerate": False,
    }


def test_top5_counts_the_five_best():
    reference = np.eye(10)
    ranks = np.stack([np.roll(np.arange(10.0), i + 1) for i in range(10)])  # best of image i is i
    for place in range(10):
        outputs = np.roll(ranks, place, axis=1)
        found = compare(outputs, reference)
        assert found["top1_agreement"] == (place == 0)
    fifth, sixth = ranks.copy(), ranks.copy()
    for i in range(10):
        fifth[i, i], sixth[i, i] = 4.5, 3.5
    assert compare(fifth, reference)["top5_agreement"] == 1.0
    assert compare(sixth, reference)["top5_agreement"] == 0.0


def test_sqnr_of_a_known_error():
    reference = scores()
    assert compare(reference * 1.1, reference)["sqnr_db"] == pytest.approx(20.0)


def test_without_labels_accuracy_is_none():
    found = compare(scores(), scores(seed=1))
    assert found["top1_accuracy"] is found["top5_accuracy"] is None
    assert found["reference_top1_accuracy"] is None


@pytest.mark.parametrize("classes", [2, 5, 6, 10])
@pytest.mark.parametrize("value", [0.0, 3.0, np.nan, np.inf])
def test_constant_outputs_never_score(classes, value):
    reference = scores(classes=classes)
    labels = np.zeros(20, int)
    found = compare(np.full_like(reference, value), reference, labels)
    assert found["top1_agreement"] == found["top5_agreement"] == 0.0
    assert found["top1_accuracy"] == found["top5_accuracy"] == 0.0
    assert found["degenerate"]
    json.dumps(found, allow_nan=False)


def test_a_tie_for_the_first_place_is_no_agreement():
    reference = np.array([[2.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    tied = np.array([[2.0, 2.0, 0.0, 0.0, 0.0, 0.0]])
    found = compare(tied, reference)
    assert (found["top1_agreement"], found["top5_agreement"]) == (0.0, 1.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite(value):
    reference = scores()
    outputs = reference.copy()
    outputs[3, reference[3].argmax() if value == np.inf else 4] = value
    found = compare(outputs, reference)
    assert found["sqnr_db"] is found["max_abs_error"] is None
    assert found["degenerate"]
    assert not found["exact"]
    assert found["top1_agreement"] == 0.95
    assert found["cosine"] == pytest.approx(0.95)


def test_a_zero_reference_has_no_sqnr_and_no_direction():
    found = compare(np.ones((2, 3)), np.zeros((2, 3)))
    assert found["sqnr_db"] is None
    assert found["cosine"] == 0.0
    assert not found["exact"]


def test_values_that_would_overflow():
    reference = scores()
    found = compare(-1e308 * np.sign(reference), 1e308 * np.sign(reference))
    assert found["cosine"] == pytest.approx(-1.0)
    json.dumps(found, allow_nan=False)


class TestDegenerate:
    def test_one_answer_for_all_images(self):
        reference = scores()
        assert compare(np.tile(reference[:1], (20, 1)), reference)["degenerate"]

    @pytest.mark.parametrize(("share", "degenerate"), [(0.9e-3, True), (1.1e-3, False)])
    def test_a_spread_around_the_limit(self, share, degenerate):
        reference = scores(images=9)  # too few for a constant top-1 to tell
        mean = reference.mean(axis=0)
        assert compare(mean + share * (reference - mean), reference)["degenerate"] is degenerate

    @pytest.mark.parametrize(("images", "degenerate"), [(9, False), (10, True)])
    def test_one_class_for_all_of_ten_images(self, images, degenerate):
        reference = scores(images)
        outputs = reference.copy()
        outputs[:, 7] += 100
        assert compare(outputs, reference)["degenerate"] is degenerate

    def test_one_class_is_right_where_the_reference_has_one(self):
        reference = scores()
        reference[:, 7] += 100
        assert not compare(reference + 0.1 * scores(seed=1), reference)["degenerate"]

    @pytest.mark.parametrize(("agreeing", "degenerate"), [(9, True), (10, False)])
    def test_the_answer_that_the_reference_mostly_gives_is_no_constant(self, agreeing, degenerate):
        reference = scores()
        reference[:, 7] -= 100
        reference[:agreeing, 7] += 200
        outputs = reference.copy()
        outputs[:, 7] += 200
        assert len(outputs) == 20
        assert compare(outputs, reference)["degenerate"] is degenerate

    def test_equal_images_say_nothing(self):
        reference = np.tile(scores(1), (20, 1))
        assert not compare(reference, reference)["degenerate"]

    def test_a_single_image(self):
        assert not compare(scores(1), scores(1, seed=1))["degenerate"]


@pytest.mark.parametrize(
    ("outputs", "reference", "labels"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), None),
        (np.ones(3), np.ones(3), None),
        (np.ones((0, 3)), np.ones((0, 3)), None),
        (np.ones((2, 3)), np.full((2, 3), np.nan), None),
        (np.ones((2, 3)), np.ones((2, 3)), [0]),
        (np.ones((2, 3)), np.ones((2, 3)), [0.0, 1.0]),
        (np.ones((2, 3)), np.ones((2, 3)), [0, 3]),
        (np.ones((2, 3)), np.ones((2, 3)), [-1, 0]),
    ],
)
def test_what_does_not_fit_is_refused(outputs, reference, labels):
    with pytest.raises(ValueError, match=r"outputs|reference|labels"):
        compare(outputs, reference, labels)


@given(seeds, st.integers(2, 12))
def test_a_perfect_match(seed, classes):
    reference = scores(classes=classes, seed=seed).astype(np.float32)
    found = compare(reference, reference, reference.argmax(axis=1))
    for share in ("top1_agreement", "top5_agreement", "top1_accuracy", "reference_top1_accuracy"):
        assert found[share] == 1.0
    assert found["exact"]
    assert found["sqnr_db"] is None
    assert found["max_abs_error"] == 0.0
    assert found["cosine"] == pytest.approx(1.0)
    assert not found["degenerate"]
    json.dumps(found, allow_nan=False)


@given(seeds)
def test_the_order_of_images_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    reference, outputs, labels = scores(seed=seed), scores(seed=seed + 1), rng.integers(0, 10, 20)
    order = rng.permutation(20)
    found = compare(outputs, reference, labels)
    permuted = compare(outputs[order], reference[order], labels[order])
    assert permuted == pytest.approx(found)


@given(seeds, st.floats(1e-4, 1e2))
def test_doubling_the_error_costs_six_decibels(seed, size):
    reference, error = scores(seed=seed), size * scores(seed=seed + 1)
    once, twice = compare(reference + error, reference), compare(reference + 2 * error, reference)
    assert once["sqnr_db"] - twice["sqnr_db"] == pytest.approx(20 * math.log10(2), abs=1e-6)
    assert twice["max_abs_error"] == pytest.approx(2 * once["max_abs_error"])


@given(seeds, st.floats(1e-2, 1e3))
def test_scaling(seed, factor):
    reference, outputs = scores(seed=seed), scores(seed=seed + 1)
    found = compare(outputs, reference)
    both = compare(outputs * factor, reference * factor)
    one = compare(outputs * factor, reference)
    assert both["sqnr_db"] == pytest.approx(found["sqnr_db"], abs=1e-9)
    for name in ("top1_agreement", "top5_agreement", "cosine", "degenerate"):
        assert both[name] == pytest.approx(found[name])
        assert one[name] == pytest.approx(found[name])


@given(seeds)
def test_top5_holds_at_least_top1(seed):
    found = compare(scores(seed=seed), scores(seed=seed + 1), np.arange(20) % 10)
    assert found["top1_agreement"] <= found["top5_agreement"]
    assert found["top1_accuracy"] <= found["top5_accuracy"]
