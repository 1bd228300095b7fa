"""Moments of a layer's inputs and outputs, gathered batch by batch."""

import numpy as np

from .factor import add_to_diagonal

_LAST_BITS = 32  # that sums of some thousand products are off by, at most
_BLOCK = 64

Rows = tuple[np.ndarray, np.ndarray]


class Moments:
    """What fitting a layer of K inputs and O outputs needs to know of its calibration data.

    Every batch's rows are halved, so that what is fitted to one half can be judged by the other.
    Memory is O(K² + K·O) whatever the number of batches; a single one is kept as it came.
    """

    def __init__(self):
        self._batch: Rows | None = None
        self._sums: _Sums | None = None

    def update(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        """Take in rows: what the quantized layer reads (…, N, K) and should answer (…, N, O).

        Leading axes, the same in every batch, are the groups of a convolution. Rows are in the
        order of the images. Inputs are real values (dequantized), padding included as it is read;
        answers are those before the activation function, with bias or without. What a batch adds is
        computed in the inputs' dtype, and added up in float64.
        """
        if self._batch is None and self._sums is None:
            self._batch = inputs, outputs
            return
        if self._sums is None:
            self._sums = _Sums(*self._batch)
            self._batch = None
        self._sums.add(inputs, outputs)

    def centred(self, half: int | None = None) -> Rows | None:
        """Return the inputs and outputs, less their means, of one half (0 or 1) or of all rows.

        None where there was more than one batch, of which only sums are kept.
        """
        if self._batch is None:
            return None
        rows = slice(None) if half is None else _halves(self._batch[0])[half]
        inputs, outputs = (values[..., rows, :] for values in self._batch)
        return inputs - _mean(inputs), outputs - _mean(outputs)

    def covariance(self, half: int | None = None) -> np.ndarray:
        """Return the inputs' (…, K, K), in their dtype: the Hessian where a bias takes up means.

        What the inputs' precision leaves uncertain is added to the diagonal, so that no direction
        in which they hardly vary comes out negative.
        """
        if rows := self.centred(half):
            read = rows[0]
            covariance = np.swapaxes(read, -1, -2) @ read
            covariance /= max(read.shape[-2], 1)
            power = np.trace(covariance, axis1=-2, axis2=-1)
        else:
            covariance, power = self._sums.covariance(half)
        add_to_diagonal(covariance, _LAST_BITS * np.finfo(covariance.dtype).eps * power)
        return covariance

    def cross_covariance(self, half: int | None = None) -> np.ndarray:
        """Return the outputs' with the inputs, (…, O, K)."""
        if rows := self.centred(half):
            read, wanted = rows
            return np.swapaxes(wanted, -1, -2) @ read / max(read.shape[-2], 1)
        return self._sums.cross_covariance(half)


class _Sums:
    """Sums of products, each half's apart, over batches."""

    def __init__(self, inputs: np.ndarray, outputs: np.ndarray):
        groups, width, wide = inputs.shape[:-2], inputs.shape[-1], outputs.shape[-1]
        self._dtype = inputs.dtype
        self._counts = np.zeros(2)
        self._products = np.zeros((2, *groups, width, width))
        self._crosses = np.zeros((2, *groups, wide, width))
        self._inputs = np.zeros((2, *groups, width))
        self._outputs = np.zeros((2, *groups, wide))
        self.add(inputs, outputs)

    def add(self, inputs: np.ndarray, outputs: np.ndarray) -> None:
        for half, rows in enumerate(_halves(inputs)):
            read, wanted = inputs[..., rows, :], outputs[..., rows, :]
            count = read.shape[-2]
            ones = np.ones(count, read.dtype)
            self._counts[half] += count
            self._products[half] += np.swapaxes(read, -1, -2) @ read
            self._crosses[half] += np.swapaxes(wanted, -1, -2) @ read
            self._inputs[half] += ones @ read
            self._outputs[half] += ones @ wanted

    def covariance(self, half: int | None) -> tuple[np.ndarray, np.ndarray]:
        """With it, the mean square of an input, summed over the inputs, (…,)."""
        mean = self._mean(self._inputs, half)
        covariance = np.empty(self._products.shape[1:], self._dtype)
        power = np.zeros(mean.shape[:-1])
        for start in range(0, mean.shape[-1], _BLOCK):
            rows = slice(start, start + _BLOCK)
            product = self._mean(self._products[..., rows, :], half)
            power += np.trace(product, offset=start, axis1=-2, axis2=-1)
            product -= mean[..., rows, None] * mean[..., None, :]
            covariance[..., rows, :] = product
        return covariance, power

    def cross_covariance(self, half: int | None) -> np.ndarray:
        outputs, inputs = (self._mean(sums, half) for sums in (self._outputs, self._inputs))
        return self._mean(self._crosses, half) - outputs[..., :, None] * inputs[..., None, :]

    def _mean(self, sums: np.ndarray, half: int | None) -> np.ndarray:
        if half is None:
            return sums.sum(axis=0) / self._counts.sum()
        return sums[half] / max(self._counts[half], 1)


def _halves(inputs: np.ndarray) -> tuple[slice, slice]:
    middle = (inputs.shape[-2] + 1) // 2
    return slice(None, middle), slice(middle, None)


def _mean(values: np.ndarray) -> np.ndarray:
    """Of rows (…, N, K), (…, 1, K), in their dtype; 0 of none."""
    total = values.sum(axis=-2, keepdims=True, dtype=np.float64)
    return (total / max(values.shape[-2], 1)).astype(values.dtype)
