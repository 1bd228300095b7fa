"""The grids of weights, written out, and rounding to them by a look at every level."""

import numpy as np

LEVELS = {
    1: [-1, 1],
    2: [-3, -1, 1, 3],
    3: [-7, -5, -3, -1, 1, 3, 5, 7],
    4: list(range(-15, 16, 2)),
    5: list(range(-15, 16)),
    6: list(range(-31, 32)),
    7: list(range(-63, 64)),
    8: list(range(-127, 128)),
}


def rounded(scaled: np.ndarray, bits: int) -> np.ndarray:
    """The nearest level of each element, float64, the upper one where two are as near."""
    levels = np.array(LEVELS[bits][::-1], np.float64)
    return levels[np.abs(scaled[..., None] - levels).argmin(axis=-1)]
