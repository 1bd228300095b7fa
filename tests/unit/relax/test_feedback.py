"""Rounding with feedback, compiled, against the definition in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitsweep.relax.weights.feedback import round_with_feedback
from tests.unit.relax.levels import rounded


def by_definition(values, reference, feedback, bits):
    values, errors = values.copy(), np.zeros_like(values)
    integers, remainder = np.empty_like(values), np.empty_like(values)
    for k in range(values.shape[-2]):
        fed_back = np.einsum("...jo,...j->...o", errors[..., :k, :], feedback[..., :k, k])
        here = values[..., k, :] + fed_back
        integers[..., k, :] = rounded(here, bits)
        errors[..., k, :] = reference[..., k, :] - integers[..., k, :]
        remainder[..., k, :] = here - integers[..., k, :]
    return integers, errors, remainder


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bits=st.integers(1, 8),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 300)),
    groups=st.sampled_from([(), (1,), (3,)]),
)
def test_it_is_what_its_definition_says(seed, bits, shape, groups):
    # Of small integers and powers of two no sum is rounded, so that both round the same halves.
    generator = np.random.default_rng(seed)
    values, reference = (
        generator.integers(-40, 40, (*groups, *shape)).astype(np.float64) / 4 for _ in range(2)
    )
    feedback = generator.integers(-2, 3, (*groups, shape[0], shape[0])).astype(np.float64) / 4
    expected = by_definition(values, reference, feedback, bits)
    for found, wanted in zip(
        round_with_feedback(values, reference, feedback, bits), expected, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_given_stays_as_it_is(dtype):
    given_ = [np.full(shape, 0.3, dtype) for shape in ((2, 5), (2, 5), (2, 2))]
    copies = [array.copy() for array in given_]
    integers, *_ = round_with_feedback(*given_, 8)
    assert integers.dtype == dtype
    for array, copy in zip(given_, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
