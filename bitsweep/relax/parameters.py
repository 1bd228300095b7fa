"""Scale and zero point of an activation, from the range that its integers should span."""

import math

import numpy as np


def choose(low: float, high: float, bits: int, symmetric: bool = False) -> tuple[float, int]:
    """Return (scale, zero point) of the integers 0 … 2^bits − 1, real = scale·(q − zero point).

    Zero is always an integer: a range beside it is first widened to it, and the zero point rounded
    (Jacob et al. 2018, section 3). `symmetric` puts the zero point at 2^(bits − 1), or at 0 where
    `low` ≥ 0, with a scale that leaves no value of the range off by more than half of it. The
    scale is a float32's value. A range too narrow for float32, as of a dead tensor, gives (1, 0).

    Raises `ValueError` for bits outside 1 to 8, an end that is not finite, or `low` > `high`.
    """
    if bits not in range(1, 9):
        raise ValueError(f"activations have 1 to 8 bits, not {bits}")
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"not a range: {low} to {high}")
    low, high = min(low, 0.0), max(high, 0.0)
    steps = 2**bits - 1
    if symmetric and low < 0:
        low, high = min(low, -high), max(high, -low)
    scale = _float32((high - low) / steps)
    if scale == 0:
        return 1.0, 0
    if symmetric and low < 0:
        return scale, 2 ** (bits - 1)
    return scale, min(max(math.floor(-low / scale + 0.5), 0), steps)


def _float32(scale: float) -> float:
    """Return the nearest float32, 0 for one below its normal range."""
    information = np.finfo(np.float32)
    return float(np.float32(scale)) if scale >= information.tiny else 0.0
