"""Calibration ranges: which interval of an activation's values the integers should span."""

from collections.abc import Callable

import numpy as np

from .histogram import BINS, Histogram
from .parameters import choose

MOMENTUM = 0.9
"""Share of the past in a moving average."""

_CANDIDATES = 128
_REFINEMENTS = 3
_BINS_PER_LEVEL = 16
_SMOOTHING = 1e-4


class Observer:
    """Sees a tensor's values batch by batch, then answers which range to quantize.

    Memory does not grow with the batches. Every method but "moving_average" depends only on which
    values were seen, to the bit: neither on their order nor on how they were split into batches.

    Attributes: `histogram`, and `moving`, the moving average of (minimum, maximum), None before the
    first value. Both are what was seen before, where they are given.
    """

    def __init__(
        self, histogram: Histogram | None = None, moving: tuple[float, float] | None = None
    ):
        self.histogram = histogram or Histogram()
        self.moving = moving

    def update(self, values: np.ndarray) -> None:
        """Take in `values`: floats of any shape.

        Raises `ValueError` if one is not finite, and has then seen none of them.
        """
        values = np.asarray(values)
        if values.size == 0:
            return
        low, high = self.histogram.update(values)
        if self.moving is not None:
            low, high = (
                MOMENTUM * past + (1 - MOMENTUM) * new
                for past, new in zip(self.moving, (low, high), strict=True)
            )
        self.moving = low, high

    def range(
        self, method: str, *, bits: int = 8, symmetric: bool = False, percentile: float = 99.99
    ) -> tuple[float, float]:
        """Return (low, high) in the tensor's unit, within the values seen.

        `method` is one of
        - "min_max";
        - "moving_average" of the batches' minima and maxima, `MOMENTUM` for the past;
        - "percentile": `percentile` % of the values lie within, as many are below as above;
        - "mse": least mean squared error of the uint8 quantizer that `choose` makes of the range;
        - "kl_divergence": least information lost by 2^`bits` levels (Migacz 2017, "8-bit inference
          with TensorRT"; `tvm.relay.quantize.kl_divergence`), values of exactly 0 left out.

        Raises `ValueError` for an unknown method or before any value was seen.
        """
        histogram = self.histogram
        if self.moving is None:
            raise ValueError("no value was seen, so there is no range")
        match method:
            case "min_max":
                return histogram.low, histogram.high
            case "moving_average":
                # Rounding may carry an average of equal numbers past them.
                return max(self.moving[0], histogram.low), min(self.moving[1], histogram.high)
            case "percentile":
                tail = (1 - percentile / 100) / 2
                return histogram.quantile(tail), histogram.quantile(1 - tail)
            case "mse":
                return _least_error(histogram, bits, symmetric)
            case "kl_divergence":
                return _least_divergence(histogram, bits)
        raise ValueError(f"unknown calibration method {method!r}")


def _thresholds(histogram: Histogram, fewest_bins: int) -> list[float]:
    """Magnitudes to clip at, ascending: from `fewest_bins` bins to the largest value."""
    largest = max(-histogram.low, histogram.high)
    nearest = max(histogram.low, -histogram.high, 0.0)
    smallest = min(max(fewest_bins * histogram.width, nearest), largest)
    return np.linspace(smallest, largest, _CANDIDATES).tolist()


def _clipped(histogram: Histogram, threshold: float) -> tuple[float, float]:
    return max(histogram.low, -threshold), min(histogram.high, threshold)


def _least_error(histogram: Histogram, bits: int, symmetric: bool) -> tuple[float, float]:
    centres, counts = histogram.occupied()

    def error(low: float, high: float) -> float:
        scale, zero_point = choose(low, high, bits, symmetric)
        integers = np.clip(np.floor(centres / scale + zero_point + 0.5), 0, 2**bits - 1)
        return float(counts @ ((integers - zero_point) * scale - centres) ** 2)

    best = min(
        (_clipped(histogram, threshold) for threshold in _thresholds(histogram, 1)),
        key=lambda candidate: error(*candidate),
    )
    for _ in range(_REFINEMENTS):
        for side in (0, 1):
            best = _refined(best, side, histogram, error)
    return best


def _refined(
    best: tuple[float, float],
    side: int,
    histogram: Histogram,
    error: Callable[[float, float], float],
) -> tuple[float, float]:
    """Move one end of a range to where the error is least, the other end held."""
    candidates = [best]
    for factor in np.linspace(0.7, 1.3, 61):
        moved = list(best)
        moved[side] = float(np.clip(best[side] * factor, histogram.low, histogram.high))
        if moved[0] <= moved[1]:
            candidates.append((moved[0], moved[1]))
    return min(candidates, key=lambda candidate: error(*candidate))


def _least_divergence(histogram: Histogram, bits: int) -> tuple[float, float]:
    if not histogram.counts.any():
        return histogram.low, histogram.high
    levels = 2**bits
    # 16 bins a level on either side, as in TensorRT: with more, a range of few bins would be
    # reproduced by its levels exactly, however much it cuts off.
    merged = max(BINS // (_BINS_PER_LEVEL * levels), 1)
    counts = histogram.counts.reshape(-1, merged).sum(axis=1)

    def divergence(threshold: float) -> float:
        low, high = _clipped(histogram, threshold)
        first = histogram.bin_of(min(low, 0.0)) // merged
        last = max(histogram.bin_of(max(high, 0.0)) // merged, first)
        return _divergence(counts, first, last + 1, levels)

    best = min(_thresholds(histogram, levels * merged), key=divergence)
    return _clipped(histogram, best)


def _divergence(counts: np.ndarray, first: int, end: int, levels: int) -> float:
    """Kullback-Leibler divergence of bins first … end−1 from themselves in `levels` levels.

    What lies outside is counted in the outermost bins of the reference, not of the candidate.
    """
    inside = counts[first:end].astype(np.float64)
    reference = inside.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[end:].sum()
    level = np.arange(len(inside)) * levels // len(inside)
    occupied = inside > 0
    mass = np.bincount(level, inside, levels)
    bins = np.bincount(level[occupied], minlength=levels)
    candidate = np.where(occupied, mass[level] / np.maximum(bins[level], 1), 0.0)
    reference, candidate = _smoothed(reference), _smoothed(candidate)
    return float(np.sum(reference * np.log(reference / candidate)))


def _smoothed(masses: np.ndarray) -> np.ndarray:
    """Return probabilities, none of them 0 (an empty distribution becomes uniform)."""
    total = masses.sum()
    uniform = 1 / len(masses)
    if total == 0:
        return np.full(len(masses), uniform)
    return (1 - _SMOOTHING) * masses / total + _SMOOTHING * uniform
