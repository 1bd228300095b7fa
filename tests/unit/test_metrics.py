"""Metrics on answers worked out by hand, and the laws they must keep."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy

from bitsweep.metrics import centred_sqnr_db, compare, kl_divergence, sqnr_db
from bitsweep.proportions import wilson_interval


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
        "top1_agreement_low": pytest.approx(0.0945, abs=1e-4),
        "top1_agreement_high": pytest.approx(0.9055, abs=1e-4),
        "top5_agreement": 1.0,
        "constant_agreement": 0.5,
        "top1_accuracy": 1.0,
        "top1_accuracy_low": pytest.approx(0.3424, abs=1e-4),
        "top1_accuracy_high": pytest.approx(1.0),
        "top5_accuracy": 1.0,
        "reference_top1_accuracy": 0.5,
        "images_gained": 1,
        "images_lost": 0,
        "constant_accuracy": 1.0,
        "exact": False,
        "sqnr_db": pytest.approx(10 * math.log10(26 / 26)),
        "centred_sqnr_db": pytest.approx(10 * math.log10(9 / 26)),  # the mean is 1.5, 2.5, 0
        "cosine": pytest.approx((10 / math.sqrt(110) + 4 / math.sqrt(41)) / 2),
        "max_abs_error": 5.0,
        "degenerate": True,
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
    labelled = compare(scores(), scores(seed=1), np.arange(20) % 10)
    found = compare(scores(), scores(seed=1))
    assert list(found) == list(labelled)
    without = {name for name in found if "accuracy" in name or name.startswith("images_")}
    assert len(without) == 8
    assert {name for name, value in found.items() if value is None} == without
    assert None not in labelled.values()


@given(seeds, st.integers(2, 60))
def test_a_difference_is_of_the_images_in_pairs(seed, images):
    rng = np.random.default_rng(seed)
    reference, outputs = scores(images, seed=seed), scores(images, seed=seed + 1)
    outputs[: images // 3] = reference[: images // 3]
    outputs[-1] = 0  # answers nothing
    labels = np.where(rng.random(images) < 0.7, reference.argmax(axis=1), rng.integers(0, 10))
    right = outputs.argmax(axis=1) == labels
    right[-1] = False
    before = reference.argmax(axis=1) == labels
    found = compare(outputs, reference, labels)
    assert found["images_gained"] == sum(right & ~before)
    assert found["images_lost"] == sum(before & ~right)
    difference = found["top1_accuracy"] - found["reference_top1_accuracy"]
    in_images = found["images_gained"] - found["images_lost"]
    assert in_images == pytest.approx(images * difference, abs=1e-9)
    for share in ("top1_accuracy", "top1_agreement"):
        bounds = (found[f"{share}_low"], found[f"{share}_high"])
        assert bounds == wilson_interval(found[share], images)


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
    assert found["sqnr_db"] is found["centred_sqnr_db"] is found["max_abs_error"] is None
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


class TestConstant:
    def test_its_agreement_is_the_share_of_the_class_that_is_answered_most(self):
        reference = np.eye(4)[[2, 2, 2, 0, 1]]
        labels = [3, 3, 2, 2, 3]
        found = compare(scores(5, 4), reference, labels)
        assert (found["constant_agreement"], found["constant_accuracy"]) == (0.6, 0.6)
        for constant in np.eye(4):
            of_constant = compare(np.tile(constant, (5, 1)), reference, labels)
            assert of_constant["top1_agreement"] <= 0.6
            assert of_constant["top1_accuracy"] <= 0.6

    @given(seeds, st.floats(-3, 3), st.floats(0, 3))
    def test_no_constant_has_more_than_0_db_and_the_mean_has_it(self, seed, shift, wide):
        reference = scores(seed=seed) + shift
        mean = reference.mean(axis=0)
        other = mean + wide * scores(1, seed=seed + 1)
        assert centred_sqnr_db(np.tile(mean, (20, 1)), reference) == pytest.approx(0, abs=1e-9)
        assert centred_sqnr_db(np.tile(other, (20, 1)), reference) <= 1e-9

    @given(seeds, st.floats(1e-3, 10))
    def test_the_coefficient_of_determination_says_the_same(self, seed, size):
        reference = scores(seed=seed) + 5
        outputs = reference + size * scores(seed=seed + 1)
        residual = np.sum((outputs - reference) ** 2)
        determination = 1 - residual / (len(reference) * reference.var(axis=0).sum())
        found = centred_sqnr_db(outputs, reference)
        assert found == pytest.approx(-10 * math.log10(1 - determination), abs=1e-6)

    def test_sqnr_praises_a_constant_where_the_mean_is_large_and_the_centred_one_does_not(self):
        reference = scores() + 10
        constant = np.full_like(reference, 10)
        assert sqnr_db(constant, reference) > 19
        assert centred_sqnr_db(constant, reference) < 0


def one_class_mostly(images=64, others=15, seed=0):
    """Scores of an untrained network: a large mean, one class for all images but `others`."""
    reference = 0.1 * scores(images, seed=seed)
    reference[:, 7] += 10
    reference[:others, 3] += 20
    return reference


class TestDegenerate:
    def test_one_answer_for_all_images(self):
        reference = scores()
        assert compare(np.tile(reference[:1], (20, 1)), reference)["degenerate"]

    @pytest.mark.parametrize(("share", "degenerate"), [(1.1e-3, True), (1.2e-3, False)])
    def test_a_gain_around_the_limit(self, share, degenerate):
        reference = scores()
        mean = reference.mean(axis=0)
        assert compare(mean + share * (reference - mean), reference)["degenerate"] is degenerate

    def test_one_class_for_all_images(self):
        reference = scores()
        outputs = reference.copy()
        outputs[:, 7] += 100
        assert compare(outputs, reference)["degenerate"]

    def test_one_class_is_right_where_the_reference_has_one(self):
        reference = scores()
        reference[:, 7] += 100
        assert not compare(reference + 0.1 * scores(seed=1), reference)["degenerate"]

    @given(seeds)
    def test_the_class_that_the_reference_mostly_gives_is_a_constant_too(self, seed):
        reference = one_class_mostly(seed=seed)
        outputs = 0.1 * scores(64, seed=seed + 1)
        outputs[:, 7] += 10
        found = compare(outputs, reference)
        assert found["top1_agreement"] == found["constant_agreement"] == 49 / 64
        assert found["degenerate"]

    def test_a_network_of_one_class_mostly_may_be_told_by_its_decibels_alone(self):
        reference = one_class_mostly()
        outputs = reference.copy()
        outputs[:15, 3] -= 11  # no longer the largest
        found = compare(outputs, reference)
        assert found["top1_agreement"] == found["constant_agreement"]
        assert found["centred_sqnr_db"] > 1
        assert not found["degenerate"]

    @pytest.mark.parametrize("factor", [1e-6, 1e6])
    def test_scores_of_another_scale_are_told_by_their_ranks_alone(self, factor):
        found = compare(factor * scores(), scores())
        assert found["centred_sqnr_db"] <= 0.01
        assert found["top1_agreement"] == 1.0
        assert not found["degenerate"]

    @pytest.mark.parametrize(("right", "degenerate"), [(14, True), (21, False)])
    def test_agreement_that_chance_explains_is_none(self, right, degenerate):
        # Of 100 images a tenth has each class: Wilson's interval of 16 begins at 0.101.
        reference = np.eye(10)[np.arange(100) % 10]
        outputs = 100 * np.roll(reference, 1, axis=1)
        outputs[:right] = 100 * reference[:right]
        found = compare(outputs, reference)
        assert (found["top1_agreement"], found["constant_agreement"]) == (right / 100, 0.1)
        assert found["degenerate"] is degenerate

    @given(seeds)
    def test_answers_to_other_images_are_degenerate(self, seed):
        reference = scores(100, seed=seed)
        assert compare(np.roll(reference, 1, axis=0), reference)["centred_sqnr_db"] < 0

    def test_equal_images_say_nothing(self):
        reference = np.tile(scores(1), (20, 1))
        assert not compare(reference + 1, reference)["degenerate"]

    def test_a_single_image(self):
        assert not compare(scores(1), scores(1, seed=1))["degenerate"]


@given(seeds)
def test_sqnr_is_of_tensors_of_any_shape(seed):
    reference = np.random.default_rng(seed).normal(size=(2, 3, 4, 5)).astype(np.float32)
    noisy = reference * np.float32(1.125)  # exact in float32 but for its last bits
    assert sqnr_db(noisy, reference) == pytest.approx(20 * math.log10(8), abs=1e-4)


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
    assert found["sqnr_db"] is found["centred_sqnr_db"] is None
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
    for name in ("sqnr_db", "centred_sqnr_db"):
        assert both[name] == pytest.approx(found[name], abs=1e-9)
    assert both["degenerate"] == found["degenerate"]
    for name in ("top1_agreement", "top5_agreement", "cosine"):
        assert both[name] == pytest.approx(found[name])
        assert one[name] == pytest.approx(found[name])


@given(seeds)
def test_top5_holds_at_least_top1(seed):
    found = compare(scores(seed=seed), scores(seed=seed + 1), np.arange(20) % 10)
    assert found["top1_agreement"] <= found["top5_agreement"]
    assert found["top1_accuracy"] <= found["top5_accuracy"]


@given(seeds, st.floats(0.01, 30))
def test_the_divergence_is_scipys_whatever_is_added_to_an_images_scores(seed, spread):
    reference, outputs = spread * scores(seed=seed), spread * scores(seed=seed + 1)
    expected = entropy(softmax(reference, axis=1), softmax(outputs, axis=1), axis=1).mean()
    assert kl_divergence(outputs, reference) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    shift = scores(classes=1, seed=seed)
    assert kl_divergence(outputs + shift, reference) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert kl_divergence(reference + shift, reference) == pytest.approx(0, abs=1e-9)


def test_the_divergence_of_certain_answers_is_finite():
    assert kl_divergence([[0.0, 1000.0]], [[1000.0, 0.0]]) == pytest.approx(1000)


def test_answers_that_are_not_finite_have_no_divergence():
    with pytest.raises(ValueError, match="the outputs must be finite"):
        kl_divergence([[np.inf, 0.0]], [[1.0, 0.0]])
