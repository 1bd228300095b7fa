"""Real factors as integer multiplier and shift (Jacob et al., 2018, arXiv:1712.05877, 2.2)."""

import numpy as np

from bitsweep.relax.errors import NotQuantizable

MOST_SHIFT = 62
_MULTIPLIER_BITS = 31


def multiplier_and_shift(*factors: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Return int32 multipliers, an array a factor, and their shift: factor ≈ multiplier · 2^−shift.

    Factors are non-negative or negative reals of one shape; those at one place share their shift,
    of 1 to 62, the largest that leaves every multiplier less than 2^31 in magnitude. Then products
    with 32-bit accumulators, added up with products of 8-bit values, fit into 64 bits. Raises
    `NotQuantizable` for a factor that is not finite or of 2^30 or more.
    """
    factors = [np.asarray(factor, dtype=np.float64) for factor in factors]
    largest = np.max(np.abs(factors), axis=0)
    if not np.all(np.isfinite(largest)) or np.any(largest >= 2.0 ** (_MULTIPLIER_BITS - 1)):
        raise NotQuantizable(
            f"a factor of {np.max(largest):g} cannot be expressed: allowed is < 2^30"
        )
    # largest = mantissa · 2^exponent with a mantissa in [0.5, 1).
    _, exponent = np.frexp(largest)
    shift = np.clip(_MULTIPLIER_BITS - exponent, 1, MOST_SHIFT)
    while True:
        multipliers = [np.rint(np.ldexp(factor, shift)) for factor in factors]
        # A mantissa that rounds up to 1 needs one bit less of shift.
        over = np.max(np.abs(multipliers), axis=0) >= 2.0**_MULTIPLIER_BITS
        if not np.any(over):
            return [m.astype(np.int32) for m in multipliers], shift.astype(np.int32)
        shift = np.where(over, shift - 1, shift)


def half_and_fraction(
    multiplier: np.ndarray, shift: np.ndarray, fraction: np.ndarray
) -> np.ndarray:
    """What rounds a product when it is shifted, with a fraction of the accumulator's unit; int64.

    `fraction` is what the accumulator lacks, at most a half in magnitude.
    """
    half = np.int64(1) << (shift.astype(np.int64) - 1)
    return half + np.rint(fraction * multiplier).astype(np.int64)
