import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep.relax.requantization import multiplier_and_shift
from tests.unit.relax import fixed_point

FACTORS = st.floats(-(2.0**30), 2.0**30, exclude_min=True, exclude_max=True)
PAIR = st.tuples(FACTORS, FACTORS | st.floats(-1, 1)).filter(any)  # of zeros any shift would do
PAIRS = st.lists(PAIR, min_size=1, max_size=8)


@given(PAIRS)
def test_the_shift_is_the_largest_that_leaves_31_bits(pairs):
    factors = np.array(pairs).T
    (expected, its_shift), (found, shift) = (
        function(*factors) for function in (fixed_point.multiplier_and_shift, multiplier_and_shift)
    )
    np.testing.assert_array_equal(shift, its_shift)
    np.testing.assert_array_equal(found, expected)
    assert (shift.dtype, found[0].dtype) == (np.int32, np.int32)


@pytest.mark.parametrize("factor", [2.0**30, -(2.0**30), np.inf, np.nan])
def test_what_31_bits_do_not_express_is_refused(factor):
    with pytest.raises(ValueError, match="cannot be expressed"):
        multiplier_and_shift(np.array([0.5, factor]))
