"""Intervals against scipy and published figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from bitsweep.proportions import wilson_interval


@st.composite
def shares(draw):
    """Images that are right, and how many there are."""
    count = draw(st.integers(1, 2000))
    return draw(st.integers(0, count)), count


def test_a_published_one():
    # Newcombe (1998), table I: 81 of 263.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@given(shares())
def test_scipy_says_the_same(of):
    right, count = of
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right / count, count) == pytest.approx(tuple(expected), abs=1e-7)


@given(shares())
def test_it_holds_the_share_is_never_empty_and_wrong_answers_mirror_right_ones(of):
    right, count = of
    low, high = wilson_interval(right / count, count)
    assert 0 <= low <= right / count <= high <= 1
    assert low < high
    mirrored = wilson_interval((count - right) / count, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(shares(), st.integers(2, 5))
def test_more_images_make_it_narrower(of, times):
    right, count = of
    few, many = (wilson_interval(right / count, n) for n in (count, count * times))
    assert many[1] - many[0] < few[1] - few[0]
