"""One bit of a layer's outputs: above which sum it is set, by channel, and what it stands for."""

from typing import NamedTuple

import numpy as np


class Bisection(NamedTuple):
    """Thresholds (C,) in the unit of the sums, NaN for a channel that no threshold divides, and the
    distance of the two levels, one for all channels: 0 where none is divided."""

    thresholds: np.ndarray
    distance: float


def bisect(sums: np.ndarray, wanted: np.ndarray) -> Bisection:
    """Return by which `sums` (N, C) of a quantized layer two levels come nearest to what the float
    layer answers, `wanted` (N, C).

    A channel's threshold leaves the least variance of `wanted` on its two sides (a regression
    tree's split, Breiman et al. 1984; of `sums` themselves, Otsu 1979), of those above which
    `wanted` is larger. The distance of the levels is then that of least squares over all channels,
    each channel's mean left to the biases of what reads it: zero is between the levels of a tensor
    of both signs.
    """
    sums, wanted = (np.ascontiguousarray(rows.T) for rows in (sums, wanted))
    channels, count = sums.shape
    order = np.argsort(sums, axis=1)
    ordered = np.take_along_axis(sums, order, 1)
    means = wanted.mean(axis=1, keepdims=True, dtype=np.float64)
    centred = np.take_along_axis(wanted, order, 1) - means
    # The covariance of `wanted` with the bit, whose variance is share · (1 − share).
    covariance = -np.cumsum(centred, axis=1)[:, :-1] / count
    share = np.arange(1, count) / count
    variance = share * (1 - share)
    divides = (ordered[:, 1:] > ordered[:, :-1]) & (covariance > 0)
    explained = np.where(divides, np.square(covariance) / variance, 0)
    if not explained.any():
        return Bisection(np.full(channels, np.nan), 0.0)
    best = explained.argmax(axis=1)
    place = np.arange(channels), best
    lower, upper = ordered[place], ordered[:, 1:][place]
    divided = divides[place]
    thresholds = np.where(divided, lower + (upper - lower) / 2, np.nan)
    distance = covariance[place][divided].sum() / variance[best][divided].sum()
    return Bisection(thresholds, float(distance))
