"""The grid that the integers of a weight lie on."""

import numpy as np

MID_RISE_BITS = 4
"""Up to here a grid has no zero: with a zero and its mirror image, 2^bits would be one too many."""


def spacing(bits: int) -> int:
    """Return the distance of neighbours: 2 on a mid-rise grid (1 to 4 bits), 1 on a mid-tread one.

    Raises `ValueError` for bits outside 1 to 8.
    """
    if bits not in range(1, 9):
        raise ValueError(f"weights have 1 to 8 bits, not {bits}")
    return 2 if bits <= MID_RISE_BITS else 1


def limit(bits: int) -> int:
    """Return the largest integer; the smallest is its negative."""
    return 2**bits - 1 if spacing(bits) == 2 else 2 ** (bits - 1) - 1


def levels(bits: int) -> np.ndarray:
    """Return the grid, ascending int8.

    1 to 4 bits: the odd numbers from −(2^bits − 1), all 2^bits of them. 5 to 8 bits: every integer
    from −(2^(bits−1) − 1), one fewer than 2^bits, so that the grid is symmetric.
    """
    return np.arange(-limit(bits), limit(bits) + 1, spacing(bits), dtype=np.int8)


def round_to_grid(scaled: np.ndarray, bits: int) -> np.ndarray:
    """Return the nearest grid point of each finite element, in the dtype of `scaled` (a float).

    Half-way is rounded up, so that 0 becomes 1 on a mid-rise grid.
    """
    rounded = np.floor(scaled * 0.5) * 2 + 1 if spacing(bits) == 2 else np.floor(scaled + 0.5)
    np.minimum(rounded, limit(bits), out=rounded)
    return np.maximum(rounded, -limit(bits), out=rounded)
