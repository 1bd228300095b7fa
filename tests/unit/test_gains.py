"""What is said of tuning, by tables made up for it."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import gains


def table(**found):
    """A summary with what tuning gives each precision: (value, low, high)."""
    return pd.DataFrame(
        [
            {
                **{"model": "net", "engine": "relay", "target": "tuned", "precision": precision},
                "speedup_vs_untuned": gain[0],
                "untuned_speedup_low": gain[1],
                "untuned_speedup_high": gain[2],
            }
            for precision, gain in found.items()
        ]
    ).astype(dict.fromkeys(("speedup_vs_untuned", "untuned_speedup_low"), "Float64"))


def told(**found):
    (sentence,) = gains.sentences(table(**found))
    return sentence


def test_both_gain_and_the_quantized_network_more():
    assert told(float32=(2.0, 1.9, 2.1), int8=(3.0, 2.8, 3.2)) == (
        "net/relay/tuned: tuning makes float32 2.00x [1.90, 2.10], int8 3.00x [2.80, 3.20] as "
        "fast; that it helps both, and int8 more, holds (1.50 [1.38, 1.63] of what float32 gains)"
    )


@pytest.mark.parametrize(
    ("float32", "int8", "verdict"),
    [
        ((2.0, 1.9, 2.1), (1.5, 1.4, 1.6), "does not hold"),  # less
        ((0.8, 0.7, 0.9), (1.5, 1.4, 1.6), "does not hold"),  # not both
        ((0.99, 0.9, 1.1), (1.5, 1.4, 1.6), "cannot be told"),
        ((2.0, 1.5, 2.6), (2.1, 1.6, 2.7), "cannot be told"),
        ((2.0, math.nan, math.nan), (3.0, 2.9, 3.1), "cannot be told without intervals"),
    ],
)
def test_a_guess_that_the_intervals_do_not_bear_out(float32, int8, verdict):
    assert f"and int8 more, {verdict}" in told(float32=float32, int8=int8)


def test_nothing_is_said_where_nothing_is_tuned_or_the_floats_are_not():
    nothing = (pd.NA,) * 3
    assert gains.sentences(table(float32=nothing, int8=nothing)) == []
    assert gains.sentences(table(float32=nothing, int8=(2.0, 1.9, 2.1))) == []


def test_floats_alone_have_their_gain_told():
    assert told(float32=(2.0, 1.9, 2.1)).endswith("float32 2.00x [1.90, 2.10] as fast")


@given(
    *[st.tuples(*[st.floats(0.1, 3), st.floats(0, 1), st.floats(0, 1)]) for _ in range(2)],
)
def test_the_ratio_turned_round_is_its_reciprocal(of, to):
    of, to = [(v, v * math.exp(-below), v * math.exp(above)) for v, below, above in (of, to)]
    value, low, high = gains.ratio(of, to)
    assert low <= value <= high
    back = gains.ratio(to, of)
    np.testing.assert_allclose((1 / back[0], 1 / back[2], 1 / back[1]), (value, low, high))


def test_the_interval_holds_the_ratio_as_often_as_those_that_it_is_of():
    """By simulation: logarithms that are normal, of known deviation."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        estimates = []
        for truth, deviation in ((3.0, 0.05), (2.0, 0.15)):
            log = math.log(truth) + deviation * generator.standard_normal()
            ends = (0, -1.959964, 1.959964)
            estimates.append(tuple(math.exp(log + end * deviation) for end in ends))
        _, low, high = gains.ratio(*estimates)
        held += low <= 1.5 <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)
