"""Moments of a layer's inputs and outputs, gathered batch by batch."""

import numpy as np

from .factor import add_to_diagonal

_LAST_BITS = 32  # that sums of some thousand products are off by, at most
_BLOCK = 64


class Moments:
    """What fitting a layer of K inputs and O outputs needs to know of its calibration data.

    Every batch's rows are halved, and the halves' moments kept apart, so that what is fitted to
    one can be judged by the other. Memory is O(K² + K·O) whatever the number of rows. `groups` is
    the shape of leading axes, for the groups of a convolution.
    """

    def __init__(self, inputs: int, outputs: int, groups: tuple[int, ...] = ()):
        self._counts = np.zeros(2)
        self._dtype = np.dtype(np.float32)
        self._products = np.zeros((2, *groups, inputs, inputs))
        self._crosses = np.zeros((2, *groups, outputs, inputs))
        self._inputs = np.zeros((2, *groups, inputs))
        self._outputs = np.zeros((2, *groups, outputs))

    def update(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Take in rows: what the quantized layer reads (…, N, K) and should answer (…, N, O).

        Rows are in the order of the images. Inputs are real values (dequantized), padding included
        as it is read; answers are those before the activation function, with bias or without.
        What a batch adds is computed in the inputs' dtype, and added up in float64.
        """
        self._dtype = inputs.dtype
        middle = (inputs.shape[-2] + 1) // 2
        for half, rows in enumerate((slice(None, middle), slice(middle, None))):
            read, wanted = inputs[..., rows, :], outputs[..., rows, :]
            count = read.shape[-2]
            ones = np.ones(count, read.dtype)
            self._counts[half] += count
            self._products[half] += np.swapaxes(read, -1, -2) @ read
            self._crosses[half] += np.swapaxes(wanted, -1, -2) @ read
            self._inputs[half] += ones @ read
            self._outputs[half] += ones @ wanted

    def input_mean(self, half: int | None = None) -> np.ndarray:
        """Return (…, K), of one half (0 or 1) or of all."""
        return self._mean(self._inputs, half)

    def output_mean(self, half: int | None = None) -> np.ndarray:
        """Return (…, O)."""
        return self._mean(self._outputs, half)

    def covariance(self, half: int | None = None) -> np.ndarray:
        """Return the inputs' (…, K, K), in their dtype: the Hessian where a bias takes up means.

        What the inputs' precision leaves uncertain is added to the diagonal, so that no direction
        in which they hardly vary comes out negative.
        """
        mean = self.input_mean(half)
        covariance = np.empty(self._products.shape[1:], self._dtype)
        power = np.zeros(mean.shape[:-1])
        for start in range(0, mean.shape[-1], _BLOCK):
            rows = slice(start, start + _BLOCK)
            product = self._mean(self._products[..., rows, :], half)
            power += np.trace(product, offset=start, axis1=-2, axis2=-1)
            product -= mean[..., rows, None] * mean[..., None, :]
            covariance[..., rows, :] = product
        add_to_diagonal(covariance, _LAST_BITS * np.finfo(self._dtype).eps * power)
        return covariance

    def cross_covariance(self, half: int | None = None) -> np.ndarray:
        """Return the outputs' with the inputs, (…, O, K)."""
        means = self.output_mean(half)[..., :, None] * self.input_mean(half)[..., None, :]
        return self._mean(self._crosses, half) - means

    def _mean(self, sums: np.ndarray, half: int | None) -> np.ndarray:
        if half is None:
            return sums.sum(axis=0) / self._counts.sum()
        return sums[half] / max(self._counts[half], 1)
