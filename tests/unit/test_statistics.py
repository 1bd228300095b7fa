"""Latency statistics on known samples, and the laws they must keep."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from bitsweep.bootstrap import MINIMUM, median_interval
from bitsweep.statistics import paired_speedup, summarize

samples = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(1e-3, 1e4),
)
long_enough = arrays(
    np.float64,
    st.tuples(st.integers(MINIMUM, 30), st.integers(1, 3)),
    elements=st.floats(1e-3, 1e4),
)
few = settings(max_examples=40, deadline=None)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_known_samples():
    summary = summarize([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])
    assert summary["median_ms"] == 3.5
    assert summary["mean_ms"] == 4.0
    assert summary["std_ms"] == pytest.approx(math.sqrt(8))
    assert summary["p90_ms"] == 7.0
    assert summary["p99_ms"] == pytest.approx(8.8)
    assert summary["minimum_ms"] == 1.0
    assert summary["samples"] == 6


def test_the_intervals_are_those_of_the_blocks_and_of_the_ratios():
    rng = np.random.default_rng(3)
    baseline, candidate = rng.lognormal(size=(19, 4)), rng.lognormal(size=(19, 3))
    ratios = np.median(baseline, axis=1) / np.median(candidate, axis=1)
    summary = summarize(candidate)
    assert (summary["median_low_ms"], summary["median_high_ms"]) == median_interval(candidate)
    low, high = median_interval(ratios[:, np.newaxis])
    assert paired_speedup(baseline, candidate) == {
        "median": np.median(ratios),
        "low": low,
        "high": high,
    }


def test_of_several_processes_the_interval_is_students_over_them():
    rng = np.random.default_rng(4)
    processes = np.repeat([0, 1, 2, 3], 10)
    candidate = rng.lognormal(size=(40, 3)) * np.exp(0.2 * rng.normal(size=4))[processes, None]
    baseline = rng.lognormal(size=(40, 3))
    ratios = np.median(baseline, axis=1) / np.median(candidate, axis=1)

    def interval(values):
        logs = [np.log(np.median(values[processes == process])) for process in range(4)]
        return np.exp(stats.t.interval(0.95, 3, np.mean(logs), stats.sem(logs)))

    summary = summarize(candidate, processes)
    found = summary["median_low_ms"], summary["median_high_ms"]
    assert found == pytest.approx(interval(candidate))
    speedup = paired_speedup(baseline, candidate, processes)
    assert (speedup["low"], speedup["high"]) == pytest.approx(interval(ratios))
    assert speedup["median"] == np.median(ratios)


def test_where_processes_differ_their_interval_holds_the_truth():
    """One process cannot tell that it is 10 % off."""
    rng = np.random.default_rng(5)
    processes = np.repeat([0, 1, 2], 20)
    held = held_by_one = 0
    for _ in range(200):
        own = 2.0 * np.exp(0.1 * rng.normal(size=3))[processes]
        candidate = own[:, None] * rng.lognormal(0, 0.02, (60, 1))
        several = summarize(candidate, processes)
        held += several["median_low_ms"] <= 2.0 <= several["median_high_ms"]
        one = summarize(candidate[:20])
        held_by_one += one["median_low_ms"] <= 2.0 <= one["median_high_ms"]
    assert held >= 0.9 * 200
    assert held_by_one < 0.5 * 200


def test_a_single_sample_and_a_single_block():
    assert summarize([[2.0]]) == {
        "median_ms": 2.0,
        "mean_ms": 2.0,
        "std_ms": 0.0,
        "p90_ms": 2.0,
        "p99_ms": 2.0,
        "median_low_ms": None,
        "median_high_ms": None,
        "minimum_ms": 2.0,
        "samples": 1,
    }
    assert paired_speedup([[4.0, 6.0]], [[2.0]]) == {"median": 2.5, "low": None, "high": None}


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
@given(long_enough)
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
    for name, value in summary.items():
        expected = value if name == "samples" or value is None else value * factor
        assert scaled[name] == pytest.approx(expected)


@few
@given(long_enough)
def test_a_module_is_as_fast_as_itself(values):
    assert paired_speedup(values, values) == {"median": 1.0, "low": 1.0, "high": 1.0}


@few
@given(long_enough, st.sampled_from([0.5, 2.0, 8.0]))
def test_a_module_sped_up_by_a_factor(values, factor):
    speedup = paired_speedup(values, values / factor)
    assert speedup == pytest.approx({"median": factor, "low": factor, "high": factor})


@few
@given(long_enough)
def test_repeatable(values):
    assert summarize(values) == summarize(values)
