"""The check that an imported network computes what PyTorch computes."""

import numpy as np

from bitsweep.engines.refusal import Refused

TOLERANCE = 1e-4  # of the largest output's magnitude
IMAGES = 4


def require(answers: np.ndarray, expected: np.ndarray, function: str) -> None:
    """Compare outputs (N, classes) of what TVM's `function` imported with PyTorch's.

    `Refused` where the greatest difference exceeds `TOLERANCE`, of the scale of PyTorch's
    output or, where that is all zero as an untrained network's may be, by itself.
    """
    difference, scale = np.abs(answers - expected).max(), np.abs(expected).max()
    relative = difference / scale if scale else difference
    told = f"output differs from PyTorch's by {relative:.2g} of its scale"
    if not relative <= TOLERANCE:
        raise Refused(function, "exception", "Mismatch", f"{told}, more than {TOLERANCE:g}")
    print(told)
