"""Latency statistics against scipy on known samples, and the laws they must keep."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.stats import bootstrap

from bitsweep import statistics
from bitsweep.statistics import paired_speedup, summarize

samples = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(1e-3, 1e4),
)
few = settings(max_examples=40)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def scipy_interval(values):
    return bootstrap(
        (values,),
        np.median,
        method="percentile",
        n_resamples=statistics.RESAMPLES,
        random_state=np.random.default_rng(statistics.SEED),
    ).confidence_interval


def test_known_samples():
    summary = summarize([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])
    assert summary["median_ms"] == 3.5
    assert summary["mean_ms"] == 4.0
    assert summary["std_ms"] == pytest.approx(math.sqrt(8))
    assert summary["p90_ms"] == 7.0
    assert summary["p99_ms"] == pytest.approx(8.8)
    assert summary["minimum_ms"] == 1.0
    assert summary["samples"] == 6
    assert (summary["median_low_ms"], summary["median_high_ms"]) == (2.0, 5.0)


@pytest.mark.parametrize("count", [2, 7, 50])
def test_one_run_per_block_is_scipys_bootstrap(count):
    values = np.random.default_rng(count).lognormal(size=count)
    summary, expected = summarize(values[:, np.newaxis]), scipy_interval(values)
    assert summary["median_low_ms"] == expected.low
    assert summary["median_high_ms"] == expected.high


def test_speedup_is_scipys_bootstrap_of_the_ratios():
    rng = np.random.default_rng(3)
    baseline, candidate = rng.lognormal(size=(9, 4)), rng.lognormal(size=(9, 3))
    ratios = np.median(baseline, axis=1) / np.median(candidate, axis=1)
    expected = scipy_interval(ratios)
    assert paired_speedup(baseline, candidate) == {
        "median": np.median(ratios),
        "low": expected.low,
        "high": expected.high,
    }


def test_whole_blocks_are_resampled():
    block_effect = np.random.default_rng(0).lognormal(size=(12, 1))
    correlated = summarize(np.tile(block_effect, (1, 50)))
    alone = summarize(block_effect)
    assert correlated["median_high_ms"] == alone["median_high_ms"]
    assert correlated["median_low_ms"] == alone["median_low_ms"]


def test_many_samples_are_resampled_in_batches(monkeypatch):
    values = np.random.default_rng(1).lognormal(size=(8, 5))
    at_once = summarize(values)
    monkeypatch.setattr(statistics, "_VALUES_AT_ONCE", 40_000)
    assert summarize(values) == pytest.approx(at_once, rel=0.1)


def test_a_single_sample_and_a_single_block():
    assert summarize([[2.0]]) == {
        "median_ms": 2.0,
        "mean_ms": 2.0,
        "std_ms": 0.0,
        "p90_ms": 2.0,
        "p99_ms": 2.0,
        "median_low_ms": 2.0,
        "median_high_ms": 2.0,
        "minimum_ms": 2.0,
        "samples": 1,
    }
    block = summarize([[1.0, 2.0, 6.0]])
    assert block["median_low_ms"] == block["median_ms"] == block["median_high_ms"] == 2.0
    assert paired_speedup([[4.0, 6.0]], [[2.0]]) == {"median": 2.5, "low": 2.5, "high": 2.5}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([], "shape"),
        ([1.0, 2.0], "shape"),
        ([[]], "empty"),
        (np.ones((0, 3)), "empty"),
        ([[1.0, math.nan]], "finite"),
        ([[math.inf]], "finite"),
        ([[0.0]], "positive"),
        ([[1.0, -1.0]], "positive"),
    ],
)
def test_wrong_samples_are_named(wrong, why):
    with pytest.raises(ValueError, match=f"samples.*{why}"):
        summarize(wrong)
    with pytest.raises(ValueError, match=f"baseline.*{why}"):
        paired_speedup(wrong, [[1.0]])
    with pytest.raises(ValueError, match=f"candidate.*{why}"):
        paired_speedup([[1.0]], wrong)


def test_blocks_must_pair_up():
    with pytest.raises(ValueError, match="the baseline has 3, the candidate 2"):
        paired_speedup(np.ones((3, 2)), np.ones((2, 2)))


@few
@given(samples)
def test_order_of_the_figures(values):
    summary = summarize(values)
    assert summary["median_low_ms"] <= summary["median_ms"] <= summary["median_high_ms"]
    assert summary["minimum_ms"] <= summary["median_low_ms"]
    assert summary["median_high_ms"] <= values.max()
    assert summary["median_ms"] <= summary["p90_ms"] <= summary["p99_ms"] <= values.max()
    assert all(type(value) in (int, float) for value in summary.values())


@few
@given(samples, st.sampled_from([0.25, 4.0, 1024.0]))
def test_figures_scale_with_the_samples(values, factor):
    scaled, summary = summarize(values * factor), summarize(values)
    for name in summary.keys() - {"samples"}:
        assert scaled[name] == pytest.approx(summary[name] * factor)


@few
@given(samples)
def test_a_module_is_as_fast_as_itself(values):
    assert paired_speedup(values, values) == {"median": 1.0, "low": 1.0, "high": 1.0}


@few
@given(samples, st.sampled_from([0.5, 2.0, 8.0]))
def test_a_module_sped_up_by_a_factor(values, factor):
    speedup = paired_speedup(values, values / factor)
    assert speedup == pytest.approx({"median": factor, "low": factor, "high": factor})


@few
@given(samples)
def test_repeatable(values):
    assert summarize(values) == summarize(values)
