"""The interval of a median of a time series whose neighbours depend on each other.

The stationary bootstrap (Politis and Romano, 1994) joins stretches of neighbours, of geometric
lengths, until the series is as long as it was. Their mean length is chosen from the series
(Politis and White, 2004, as corrected by Patton, Politis and White, 2009), and the interval is the
expanded percentile interval (Hesterberg, 2015): as few stretches as a correlated series has make
the plain percentiles too narrow. `benchmarks/coverage.py` measures how often it holds the truth.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

CONFIDENCE_LEVEL = 0.95
MINIMUM = 12  # fewer neighbours do not tell how far they depend on each other
# That length has the least error in a variance; an interval, which its few stretches widen, holds
# the truth more often with longer ones (Sun, Phillips and Jin, 2008).
LENGTHENED = 2
RESAMPLES = 9999
SEED = 0
_VALUES_AT_ONCE = 4_000_000


def median_interval(series: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the median over all values of a series of shape (n, values).

    Whole rows, which are in the order of time, are resampled. The interval holds the median of
    the series. There is none, (None, None), for fewer than `MINIMUM` rows.
    """
    count = len(series)
    if count < MINIMUM:
        return None, None
    length = min(LENGTHENED * block_length(np.median(series, axis=1)), count / 3)
    generator = np.random.default_rng(SEED)
    at_once = max(1, _VALUES_AT_ONCE // series.size)
    medians = np.concatenate(
        [
            np.median(
                series[stationary(count, length, min(at_once, RESAMPLES - done), generator)],
                axis=(1, 2),
            )
            for done in range(0, RESAMPLES, at_once)
        ]
    )
    tail = expanded_tail(count / length)
    low, high = np.quantile(medians, [tail, 1 - tail])
    median = np.median(series)
    return float(min(low, median)), float(max(high, median))


def stationary(
    count: int, length: float, resamples: int, generator: np.random.Generator
) -> NDArray[np.intp]:
    """Return indices of shape (resamples, count) that resample a series of `count` values.

    Stretches of mean `length`, which is at least 1, start anywhere and run on from the end of the
    series to its start.
    """
    starts = generator.random((resamples, count)) < 1 / length
    starts[:, 0] = True
    places = np.arange(count)
    last_start = np.maximum.accumulate(np.where(starts, places, 0), axis=1)
    origins = generator.integers(count, size=(resamples, count))
    return (np.take_along_axis(origins, last_start, axis=1) + places - last_start) % count


def block_length(values: NDArray[np.float64]) -> float:
    """Return the mean length of the stationary bootstrap's stretches for a series of shape (n,).

    At least 1, at most the lesser of n / 3 and 3 sqrt(n), n at least `MINIMUM`. The
    autocorrelations are those of the ranks, which a few outliers do not hide.
    """
    count = len(values)
    ranks = np.unique(values, return_inverse=True)[1]
    deviations = ranks - ranks.mean()
    if not deviations.any():
        return 1.0
    insignificant = max(5, int(math.sqrt(math.log10(count))))
    most = min(math.ceil(math.sqrt(count)) + insignificant, count - 1)
    lags = np.arange(1, most + 1)
    covariances = np.correlate(deviations, deviations, "full")[count - 1 :][: most + 1] / count
    # A far lag has few pairs: its correlation is over the variances of what it pairs.
    squares = np.cumsum(deviations**2) / count
    earlier, later = squares[count - 1 - lags], squares[-1] - squares[lags - 1]
    band = 2 * math.sqrt(math.log10(count) / count)
    small = np.abs(covariances[1:]) < band * np.sqrt(earlier * later)
    runs = np.convolve(small, np.ones(insignificant), "valid") == insignificant
    bandwidth = min(2 * (int(runs.argmax()) + 1), most) if runs.any() else most
    weighted = np.clip(2 * (1 - lags / bandwidth), 0, 1) * covariances[1:]
    with np.errstate(divide="ignore"):
        slope_over_density = 2 * (weighted @ lags) / (covariances[0] + 2 * weighted.sum())
    length = np.cbrt(slope_over_density**2 * count)
    return float(np.clip(length, 1, min(3 * math.sqrt(count), count / 3)))


def expanded_tail(stretches: float) -> float:
    """Return the tail, below either percentile, that makes up for how few stretches there are."""
    quantile = stdtrit(stretches - 1, (1 + CONFIDENCE_LEVEL) / 2)
    return float(ndtr(-math.sqrt(stretches / (stretches - 1)) * quantile))
