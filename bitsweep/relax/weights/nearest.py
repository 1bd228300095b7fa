"""Rounding every weight to the nearest level."""

import numpy as np

from bitsweep.relax import grid


def nearest(weight: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    """Return int8 (…, O, K) on the grid of `bits`, each nearest to `weight` (…, O, K) / `scale`
    (…, O).

    A channel of scale 0 is dead; its integers are what 0 rounds to.
    """
    divisor, live = np.where(scale > 0, scale, 1)[..., None], (scale > 0)[..., None]
    scaled = np.where(live, weight / divisor, 0)
    return grid.round_to_grid(scaled, bits).astype(np.int8)
