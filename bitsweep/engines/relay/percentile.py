"""The percentile of magnitudes that `relay.quantize` scales by, from values that come in parts."""

import numpy as np

_SHARE = 0.99999  # of the values lie below it: tvm/relay/quantize/_calibrate.py


class Percentile:
    """Takes in `count` floats part by part and keeps, of their magnitudes, those that it needs.

    The result is that of TVM's `_find_scale_by_percentile` for all of them at once, to the bit.
    """

    def __init__(self, count: int):
        self._kept = count - int(count * _SHARE)
        self._largest = np.empty(0, np.float32)  # the least of them first, once all are there

    def update(self, values: np.ndarray) -> None:
        """Take in float32 values of any shape."""
        magnitudes = np.abs(values).reshape(-1)
        if len(self._largest) == self._kept:
            magnitudes = magnitudes[~(magnitudes <= self._largest[0])]
        largest = np.concatenate([self._largest, magnitudes])
        if len(largest) >= self._kept:
            first = len(largest) - self._kept
            largest = np.partition(largest, first)[first:]
        self._largest = largest

    @property
    def value(self) -> np.float32:
        """The percentile, once all values were seen."""
        return self._largest[0]
