"""Scales of weights by the weights alone: from the largest, or by their mean squared error."""

import numpy as np

from bitsweep.relax import grid

_CLIPS = 32


def by_maximum(weight: np.ndarray, bits: int, per_channel: bool = True) -> np.ndarray:
    """Return float32 (…, O) scales that bring the largest magnitude of `weight` (…, O, K) to the
    grid's limit.

    One scale for all outputs unless `per_channel`. A channel of zeros has scale 0.
    """
    largest = np.abs(_rows(weight, per_channel)).max(axis=1).astype(np.float64)
    return _per_output((largest / grid.limit(bits)).astype(np.float32), weight)


def by_error(weight: np.ndarray, bits: int, per_channel: bool = True) -> np.ndarray:
    """Return float32 (…, O) scales of least mean squared error of `weight` (…, O, K), nearly.

    Every 1/32 of the largest magnitude is tried as the clipping limit, with the scale refitted to
    the integers that it gives. One scale for all outputs unless `per_channel`. A channel of zeros
    has scale 0.
    """
    rows = _rows(weight, per_channel)
    limits = np.abs(rows).max(axis=1, keepdims=True) / grid.limit(bits)
    # The limit as the unit: the squares of very small weights would be 0.
    rows = np.divide(rows, limits, out=np.zeros_like(rows), where=limits > 0)
    best, best_gain = np.ones(len(rows), rows.dtype), np.full(len(rows), -1.0)
    # One bit: the signs do not depend on the scale.
    for clip in np.arange(1, _CLIPS + 1) / _CLIPS if bits > 1 else (1.0,):
        scale, gain = _refit(rows, np.full_like(best, clip), bits)
        better = gain > best_gain
        best, best_gain = np.where(better, scale, best), np.where(better, gain, best_gain)
    return _per_output((best * limits[:, 0]).astype(np.float32), weight)


def _refit(rows: np.ndarray, scale: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best scale for the integers that `scale` gives, and by how much the squared error
    is then below the weights' own square."""
    divisor = np.where(scale > 0, scale, 1)[:, None]
    integers = grid.round_to_grid(rows / divisor, bits)
    product = np.einsum("ok,ok->o", integers, rows)
    square = np.maximum(np.einsum("ok,ok->o", integers, integers), 1)
    return np.maximum(product / square, 0).astype(rows.dtype), product**2 / square


def _rows(weight: np.ndarray, per_channel: bool) -> np.ndarray:
    return weight.reshape(-1, weight.shape[-1]) if per_channel else weight.reshape(1, -1)


def _per_output(scale: np.ndarray, weight: np.ndarray) -> np.ndarray:
    outputs = weight.shape[:-1]
    return np.broadcast_to(scale, np.prod(outputs)).reshape(outputs).copy()
