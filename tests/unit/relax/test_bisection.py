"""One bit of a layer's outputs, against every threshold there is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bitsweep.relax.bisection import bisect

FEW_VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
PAIRS = st.tuples(st.integers(1, 24), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        *(arrays.arrays(np.float64, shape, elements=FEW_VALUES) for _ in range(2))
    )
)


def covariance(wanted, bit) -> float:
    return np.mean((wanted - wanted.mean()) * (bit - bit.mean()), dtype=np.float64)


@given(PAIRS)
def test_no_threshold_explains_more_and_the_distance_is_of_least_squares(pair):
    sums, wanted = pair
    found = bisect(sums, wanted)
    covariances, variances = [], []
    for values, aims, threshold in zip(sums.T, wanted.T, found.thresholds, strict=True):
        bits = [values > t for t in np.unique(values)[:-1]]
        gains = [max(covariance(aims, b), 0) ** 2 / b.var() for b in bits]
        if np.isnan(threshold):
            assert max(gains, default=0) <= 1e-12
            continue
        bit = values > threshold
        gain = covariance(aims, bit) ** 2 / bit.var()
        assert covariance(aims, bit) > -1e-12
        assert gain == pytest.approx(max(gains), abs=1e-12)
        covariances.append(covariance(aims, bit))
        variances.append(bit.var())
    distance = sum(covariances) / sum(variances) if variances else 0
    assert found.distance == pytest.approx(distance, abs=1e-12)


def test_a_gaussian_keeps_its_signs_at_the_levels_of_the_textbook():
    """Max 1960: two levels at ±0.798 standard deviations."""
    values = np.random.default_rng(0).normal(3, 2, (100_000, 2))
    thresholds, distance = bisect(values, values)
    assert thresholds == pytest.approx([3, 3], abs=0.1)
    assert distance == pytest.approx(2 * 2 * 0.798, rel=0.01)


def test_a_channel_that_runs_against_what_is_wanted_is_not_divided():
    ramp = np.arange(8.0)
    found = bisect(np.stack([ramp, ramp], 1), np.stack([ramp, -ramp], 1))
    assert found.thresholds[0] == 3.5
    assert np.isnan(found.thresholds[1])
    assert found.distance == 4
