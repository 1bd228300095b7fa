"""Multiplier and shift of real factors, by trying every shift."""

import numpy as np


def multiplier_and_shift(*factors) -> tuple[list[np.ndarray], np.ndarray]:
    """The largest shift of 1 to 62 that leaves every multiplier below 2^31, and the multipliers."""
    stacked = np.stack([np.asarray(factor, np.float64) for factor in factors])
    multipliers = [np.rint(stacked * 2.0**shift) for shift in range(63)]
    fits = [(np.abs(m) < 2.0**31).all(axis=0) for m in multipliers]
    shift = np.max([np.where(fits[s], s, 0) for s in range(1, 63)], axis=0)
    chosen = np.rint(stacked * 2.0**shift).astype(np.int32)
    return list(chosen), np.asarray(shift, np.int32)
