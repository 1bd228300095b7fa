import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bitsweep.relax import grid
from tests.unit.relax.levels import LEVELS

BITS = st.integers(1, 8)
few = settings(max_examples=60)


@pytest.mark.parametrize(("bits", "levels"), LEVELS.items())
def test_levels(bits, levels):
    assert grid.levels(bits).tolist() == levels
    assert grid.levels(bits).dtype == np.int8
    assert grid.limit(bits) == levels[-1]


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bits_that_no_grid_has(bits):
    with pytest.raises(ValueError, match="1 to 8 bits"):
        grid.levels(bits)


@few
@given(
    BITS,
    arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-300, 300, width=32)),
)
def test_the_nearest_level_is_chosen(bits, scaled):
    rounded = grid.round_to_grid(scaled, bits)
    assert rounded.dtype == scaled.dtype
    assert set(rounded.tolist()) <= set(LEVELS[bits])
    distances = np.abs(scaled[:, None].astype(np.float64) - LEVELS[bits])
    assert (np.abs(scaled.astype(np.float64) - rounded) == distances.min(axis=1)).all()


@few
@given(BITS)
def test_levels_round_to_themselves_and_their_input_is_kept(bits):
    levels = np.array(LEVELS[bits], np.float64)
    given_levels = levels.copy()
    assert (grid.round_to_grid(given_levels, bits) == levels).all()
    assert (given_levels == levels).all()


@few
@given(BITS)
def test_the_border_between_levels_is_half_way(bits):
    levels = np.array(LEVELS[bits], np.float64)
    borders = (levels[:-1] + levels[1:]) / 2
    assert (grid.round_to_grid(borders, bits) == levels[1:]).all()
    assert (grid.round_to_grid(borders - 0.01, bits) == levels[:-1]).all()
