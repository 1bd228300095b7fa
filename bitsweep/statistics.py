"""Latency statistics: medians with bootstrap intervals that respect how the samples were taken.

Samples are milliseconds in an array of shape (blocks, runs), in the order taken. A block is a run
of consecutive evaluations of one module on one input. What disturbs one block disturbs its
neighbours, for longer or shorter, so the intervals resample stretches of neighbouring blocks
(`bitsweep.bootstrap`), as long as the data ask for.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitsweep import bootstrap


def summarize(samples: ArrayLike) -> dict[str, float | int | None]:
    """Summarize latencies in milliseconds of shape (blocks, runs).

    Returns median, mean, standard deviation (ddof=1; 0.0 for a single sample), 90th and 99th
    percentiles and minimum over all samples, the bootstrap 95 % interval of the median, and the
    number of samples. With fewer than `bootstrap.MINIMUM` blocks the interval's bounds are None.

    Raises `ValueError` for samples that are empty, not two-dimensional, not finite or not positive.
    """
    blocks = _checked(samples, "samples")
    low, high = bootstrap.median_interval(blocks)
    p90, p99 = np.percentile(blocks, [90, 99])
    return {
        "median_ms": float(np.median(blocks)),
        "mean_ms": float(blocks.mean()),
        "std_ms": float(blocks.std(ddof=1)) if blocks.size > 1 else 0.0,
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "median_low_ms": low,
        "median_high_ms": high,
        "minimum_ms": float(blocks.min()),
        "samples": blocks.size,
    }


def paired_speedup(baseline: ArrayLike, candidate: ArrayLike) -> dict[str, float | None]:
    """Return how many times faster the candidate is than the baseline, measured in turn.

    Both are milliseconds of shape (blocks, runs), block i of the one taken beside block i of the
    other. The speedup of a pair is the ratio of the medians, baseline / candidate; returned are
    the median of these ratios and its bootstrap 95 % interval over pairs, `low` and `high`, None
    with fewer than `bootstrap.MINIMUM` pairs.

    Raises `ValueError` as `summarize` does, and when the numbers of blocks differ.
    """
    baseline, candidate = _checked(baseline, "baseline"), _checked(candidate, "candidate")
    if len(baseline) != len(candidate):
        raise ValueError(
            f"a paired speedup needs as many blocks of each: the baseline has {len(baseline)}, "
            f"the candidate {len(candidate)}"
        )
    ratios = np.median(baseline, axis=1) / np.median(candidate, axis=1)
    low, high = bootstrap.median_interval(ratios[:, np.newaxis])
    return {"median": float(np.median(ratios)), "low": low, "high": high}


def _checked(samples: ArrayLike, name: str) -> NDArray[np.float64]:
    blocks = np.asarray(samples, dtype=np.float64)
    if blocks.ndim != 2:
        raise ValueError(f"{name} must have shape (blocks, runs), not {blocks.shape}")
    if blocks.size == 0:
        raise ValueError(f"{name} are empty")
    if not np.isfinite(blocks).all():
        raise ValueError(f"{name} must be finite")
    if not (blocks > 0).all():
        raise ValueError(f"{name} must be positive")
    return blocks
