"""The interval of a median: what is published of its parts, and how often it holds the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import coverage
from benchmarks.coverage import autoregressive
from bitsweep import bootstrap

LONG = 4000


def lengths(correlation, series=20):
    generator = np.random.default_rng(5)
    return [
        bootstrap.block_length(autoregressive(LONG, correlation, generator)) for _ in range(series)
    ]


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.85, -0.6])
def test_the_length_nears_the_best_of_an_autoregressive_process(correlation):
    """Patton, Politis and White (2009): (2 G^2 / D)^(1/3) n^(1/3), with D = 2 g(0)^2.

    For the process G / g(0) = 2 r / (1 - r^2). From a series it is found with a bias downwards.
    """
    best = np.cbrt((2 * correlation / (1 - correlation**2)) ** 2 * LONG)
    assert np.median(lengths(correlation)) == pytest.approx(best, rel=0.2)


def test_independent_values_need_hardly_any_length():
    assert np.median(lengths(0.0)) < 3


# By optimal_block_length of the package arch 8.0.0, of the ranks, stationary.
@pytest.mark.parametrize(
    ("count", "correlation", "length"),
    [
        (40, 0.3, 3.9650416667848143),
        (40, 0.85, 5.653968584428822),
        (80, 0.3, 2.4607999848772626),
        (80, 0.85, 11.344630542928936),
        (200, 0.3, 2.3659743772927433),
        (200, 0.85, 12.257277995566826),
    ],
)
def test_the_length_is_that_of_the_package_arch(count, correlation, length):
    values = autoregressive(count, correlation, np.random.default_rng(count))
    assert bootstrap.block_length(values) == pytest.approx(length, rel=1e-9)


@pytest.mark.parametrize("values", [np.ones(12), np.arange(2) % 2 + np.zeros((10, 2))])
def test_series_without_noise_have_a_length(values):
    assert 1 <= bootstrap.block_length(values.ravel()) <= values.size / 3


@given(st.integers(bootstrap.MINIMUM, 300), st.integers(0, 99), st.floats(-0.99, 0.999))
def test_the_length_is_within_its_bounds_and_that_of_the_ranks(count, seed, correlation):
    values = autoregressive(count, correlation, np.random.default_rng(seed))
    length = bootstrap.block_length(values)
    assert 1 <= length <= min(count / 3, 3 * np.sqrt(count))
    assert bootstrap.block_length(np.exp(values)) == length


@pytest.mark.parametrize("length", [1, 2.5, 10])
def test_stretches_are_of_geometric_lengths_from_anywhere(length):
    """Politis and Romano (1994), section 2."""
    count = 40
    indices = bootstrap.stationary(count, length, 4000, np.random.default_rng(0))
    assert indices.shape == (4000, count)
    assert np.bincount(indices.ravel(), minlength=count) == pytest.approx(4000, rel=0.3)
    goes_on = np.diff(indices, axis=1) % count == 1
    # A stretch that ends may by chance begin anew right after its end.
    expected = 1 - 1 / length + 1 / length / count
    assert goes_on.mean() == pytest.approx(expected, abs=0.01)
    assert goes_on[:, 1:][goes_on[:, :-1]].mean() == pytest.approx(expected, abs=0.02)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, bootstrap.MINIMUM - 1), st.integers(1, 3))
def test_too_few_rows_have_no_interval(count, runs):
    assert bootstrap.median_interval(np.ones((count, runs))) == (None, None)


def test_whole_rows_are_resampled():
    rows = np.random.default_rng(0).lognormal(size=(12, 1))
    assert bootstrap.median_interval(np.tile(rows, (1, 50))) == bootstrap.median_interval(rows)


def test_many_values_are_resampled_in_batches(monkeypatch):
    values = np.random.default_rng(1).lognormal(size=(18, 5))
    at_once = bootstrap.median_interval(values)
    monkeypatch.setattr(bootstrap, "_VALUES_AT_ONCE", 40_000)
    assert bootstrap.median_interval(values) == pytest.approx(at_once, rel=0.1)


@pytest.mark.parametrize(("count", "tail"), [(5, 0.0010), (10, 0.0086), (15, 0.0132), (20, 0.0159)])
def test_the_percentiles_are_expanded_as_those_of_so_many_independent_values(count, tail):
    """Hesterberg (2015), the expanded percentile interval of 95 %."""
    assert bootstrap.expanded_tail(count) == pytest.approx(tail, abs=5e-5)


# At least this share of 95 % intervals must hold the truth, by the correlation of neighbours.
DUE = {0.0: 0.90, 0.3: 0.90, 0.6: 0.85, 0.85: 0.75}


@pytest.mark.parametrize("of", [coverage.latency_coverage, coverage.speedup_coverage])
@pytest.mark.parametrize("correlation", coverage.CORRELATIONS)
def test_intervals_hold_the_truth_as_often_as_is_due(monkeypatch, correlation, of):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 999)
    assert of(80, correlation, series=200) >= DUE[correlation]
