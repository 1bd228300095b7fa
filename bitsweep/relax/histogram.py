"""A histogram that widens as larger values come, by merging neighbouring bins."""

import math

import numpy as np

BINS = 4096
"""Bins on each side of zero; from half of them to all are in use on the wider side."""

_CHUNK = 1 << 20
_SMALLEST_EXPONENT = -1000


class Histogram:
    """Counts in bins of width 2^exponent with an edge at zero, zeros counted apart.

    A merged bin is the bin that its values would have fallen into, and the exponent follows from
    the largest magnitude alone: the counts are the same for any order of the same values.

    Attributes: `counts` int64 (2·BINS,), bin i from (i − BINS)·width; `zeros` the number of exact
    zeros; `low`, `high` the extremes, infinite before the first value; `exponent`.
    """

    def __init__(
        self,
        counts: np.ndarray | None = None,
        zeros: int = 0,
        low: float = math.inf,
        high: float = -math.inf,
        exponent: int = _SMALLEST_EXPONENT,
    ):
        self.counts = np.zeros(2 * BINS, dtype=np.int64) if counts is None else counts
        self.zeros = zeros
        self.low, self.high = low, high
        self.exponent = exponent

    @property
    def width(self) -> float:
        """A bin's, in the values' unit."""
        return math.ldexp(1.0, self.exponent)

    def update(self, values: np.ndarray) -> tuple[float, float]:
        """Count `values`, floats of any shape but none empty, and return their (min, max).

        Raises `ValueError` if one is not finite, and has then counted none.
        """
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError("a value is not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        flat = values.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            self._count(flat[start : start + _CHUNK])
        return low, high

    def bin_of(self, value: float) -> int:
        """Return the index of the bin that holds `value`, which lies within ±BINS·width."""
        return math.floor(math.ldexp(value, -self.exponent)) + BINS

    def occupied(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the middles of the bins that are not empty, and their counts; without zeros."""
        index = np.flatnonzero(self.counts)
        return (index - BINS + 0.5) * self.width, self.counts[index]

    def quantile(self, share: float) -> float:
        """Return the value that `share` (0 to 1) of all values lie below, linear within a bin."""
        total = int(self.counts.sum()) + self.zeros
        negative = int(self.counts[:BINS].sum())
        rank = min(max(share, 0.0), 1.0) * total
        if negative <= rank <= negative + self.zeros and self.zeros:
            return 0.0
        if rank > negative:
            rank -= self.zeros
        below = np.cumsum(self.counts)
        index = int(np.searchsorted(below, rank))
        index = min(index, 2 * BINS - 1)
        count = self.counts[index]
        within = (rank - (below[index] - count)) / count if count else 0.0
        return min(max(float(index - BINS + within) * self.width, self.low), self.high)

    def _widen(self, magnitude: float) -> None:
        if magnitude == 0:
            return
        # frexp: magnitude < 2^e, so BINS bins of 2^e / BINS hold it strictly inside.
        exponent = max(math.frexp(magnitude)[1] - BINS.bit_length() + 1, _SMALLEST_EXPONENT)
        merges = exponent - self.exponent
        if merges <= 0:
            return
        index = np.flatnonzero(self.counts)
        counts = np.zeros_like(self.counts)
        np.add.at(counts, ((index - BINS) >> min(merges, 63)) + BINS, self.counts[index])
        self.counts = counts
        self.exponent = exponent

    def _count(self, values: np.ndarray) -> None:
        present = values[values != 0].astype(np.float64)
        with np.errstate(under="ignore"):
            index = np.floor(present * math.ldexp(1.0, -self.exponent)).astype(np.int64) + BINS
        self.counts += np.bincount(index, minlength=2 * BINS)
        self.zeros += len(values) - len(present)
