"""Weights of one bit without calibration data."""

import numpy as np


def binary(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the signs of `weight` (O, K), int8 (0 counts as 1), and its mean magnitudes (O,).

    The least squared error of a sign times a scale per channel, float32 (Rastegari et al. 2016,
    XNOR-Net, equation 6).
    """
    signs = np.where(weight >= 0, 1, -1).astype(np.int8)
    return signs, np.abs(weight).mean(axis=1, dtype=np.float64).astype(np.float32)
