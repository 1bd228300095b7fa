"""Differences against scipy, published figures, the likelihood itself, and how often they hold."""

import math
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest

from bitsweep.pairs import difference_interval, mcnemar_p

TWO_SIDED = 1.959964


@st.composite
def pairs(draw, at_least=1):
    """Images gained, lost, and how many there are."""
    count = draw(st.integers(at_least, 2000))
    gained = draw(st.integers(0, count))
    return gained, draw(st.integers(0, count - gained)), count


class TestDifference:
    def test_a_published_one(self):
        # Fagerland, Lydersen and Laake (2014), airway reactivity: 1 gained, 7 lost, of 21.
        assert difference_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)

    @pytest.mark.parametrize("count", [1, 21, 540, 50_000])
    def test_without_any_difference_it_is_as_wide_as_so_many_images_make_it(self, count):
        # Where no pair differs, the score test of δ is n |δ| / (1 − |δ|) = z².
        widest = TWO_SIDED**2 / (count + TWO_SIDED**2)
        assert difference_interval(0, 0, count) == pytest.approx((-widest, widest), abs=1e-8)

    @given(pairs())
    def test_it_holds_the_difference_and_is_never_empty(self, of):
        gained, lost, count = of
        low, high = difference_interval(*of)
        assert -1 <= low <= (gained - lost) / count <= high <= 1
        assert low < high

    @given(pairs())
    def test_the_two_changing_places_change_the_sign(self, of):
        gained, lost, count = of
        low, high = difference_interval(gained, lost, count)
        assert difference_interval(lost, gained, count) == (-high, -low)

    @given(pairs(), st.integers(2, 5))
    def test_more_images_make_it_narrower(self, of, times):
        few = difference_interval(*of)
        many = difference_interval(*(times * value for value in of))
        assert many[1] - many[0] < few[1] - few[0]

    @given(pairs(at_least=5))
    def test_its_ends_are_what_the_score_test_just_bears(self, of):
        for end in difference_interval(*of):
            if abs(end) < 0.999:
                assert _score(*of, end) == pytest.approx(TWO_SIDED, rel=1e-3)

    @given(pairs())
    def test_zero_is_outside_where_the_asymptotic_test_of_mcnemar_is_sure(self, of):
        gained, lost, _ = of
        low, high = difference_interval(*of)
        sure = (gained - lost) ** 2 > TWO_SIDED**2 * (gained + lost)
        assert sure == (not low <= 0 <= high)

    @pytest.mark.parametrize("count", [60, 200, 540])
    @pytest.mark.parametrize("differing", [0.5, 2, 4, 8, 16])
    @pytest.mark.parametrize("share_gained", [0, 0.25, 0.5])
    def test_it_holds_the_truth_as_often_as_it_says(self, count, differing, share_gained):
        # All outcomes that are likely at all, weighted: no simulation, so nothing to be lucky in.
        gain, loss = (differing * share / count for share in (share_gained, 1 - share_gained))
        held = 0.0
        for gained in _likely(count, gain):
            if_gained = binom.pmf(gained, count, gain)
            for lost in _likely(count - gained, loss / (1 - gain)):
                low, high = _cached(gained, lost, count)
                if low <= gain - loss <= high:
                    held += if_gained * binom.pmf(lost, count - gained, loss / (1 - gain))
        assert held >= 0.93
        if differing == 16:
            assert held <= 0.96


_cached = cache(difference_interval)


def _likely(count, share):
    return range(int(binom.ppf(1e-6, count, share)), int(binom.ppf(1 - 1e-6, count, share)) + 1)


def _score(gained, lost, count, difference):
    """The score statistic of a difference, the share of lost images by search, not by formula."""

    def unlikelihood(losing):
        shares = (losing + difference, losing, 1 - 2 * losing - difference)
        counts = (gained, lost, count - gained - lost)
        return -sum(n * math.log(max(p, 1e-300)) for n, p in zip(counts, shares, strict=True) if n)

    least, most = max(0.0, -difference), (1 - difference) / 2
    losing = minimize_scalar(
        unlikelihood, bounds=(least, most), method="bounded", options={"xatol": 1e-12}
    ).x
    variance = (2 * losing + difference - difference**2) / count
    return abs((gained - lost) / count - difference) / math.sqrt(variance)


class TestMcNemar:
    @given(pairs())
    def test_scipy_says_the_same(self, of):
        gained, lost, _ = of
        expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert mcnemar_p(gained, lost) == pytest.approx(expected, rel=1e-9)
        assert mcnemar_p(lost, gained) == mcnemar_p(gained, lost) <= 1

    def test_six_losses_are_the_fewest_that_say_anything(self):
        assert mcnemar_p(0, 6) == 2 / 64 < 0.05 < mcnemar_p(0, 5)
