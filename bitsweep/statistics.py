"""Latency statistics: medians with bootstrap intervals that respect how the samples were taken.

Samples are milliseconds in an array of shape (blocks, runs), in the order taken. A block is a run
of consecutive evaluations of one module on one input. What disturbs one block disturbs its
neighbours, for longer or shorter, so the intervals resample stretches of neighbouring blocks
(`bitsweep.bootstrap`), as long as the data ask for.

Processes that run the same machine code differ by where their memory lies, by more than any of them
can tell. Where blocks are of several, a process is one observation: the interval is Student's of
the mean of the logarithms of their medians.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from bitsweep import bootstrap


def summarize(
    samples: ArrayLike, processes: ArrayLike | None = None
) -> dict[str, float | int | None]:
    """Summarize latencies in milliseconds of shape (blocks, runs), of one process or of those that
    `processes` (blocks,) numbers.

    Returns median, mean, standard deviation (ddof=1; 0.0 for a single sample), 90th and 99th
    percentiles and minimum over all samples, the 95 % interval of the median, and the number of
    samples. With fewer than `bootstrap.MINIMUM` blocks of one process the bounds are None.

    Raises `ValueError` for samples that are empty, not two-dimensional, not finite or not positive.
    """
    blocks = _checked(samples, "samples")
    low, high = _interval(blocks, processes)
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


def paired_speedup(
    baseline: ArrayLike, candidate: ArrayLike, processes: ArrayLike | None = None
) -> dict[str, float | None]:
    """Return how many times faster the candidate is than the baseline, measured in turn.

    Both are milliseconds of shape (blocks, runs), block i of the one taken beside block i of the
    other. The speedup of a pair is the ratio of the medians, baseline / candidate; returned are
    the median of these ratios and its 95 % interval, `low` and `high`, as `summarize` has it, of
    pairs.

    Raises `ValueError` as `summarize` does, and when the numbers of blocks differ.
    """
    baseline, candidate = _checked(baseline, "baseline"), _checked(candidate, "candidate")
    if len(baseline) != len(candidate):
        raise ValueError(
            f"a paired speedup needs as many blocks of each: the baseline has {len(baseline)}, "
            f"the candidate {len(candidate)}"
        )
    ratios = np.median(baseline, axis=1) / np.median(candidate, axis=1)
    low, high = _interval(ratios[:, np.newaxis], processes)
    return {"median": float(np.median(ratios)), "low": low, "high": high}


def _interval(
    blocks: NDArray[np.float64], processes: ArrayLike | None
) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of the median, which it holds."""
    numbers = np.unique([0] if processes is None else processes)
    if len(numbers) == 1:
        return bootstrap.median_interval(blocks)
    logs = np.log([np.median(blocks[np.asarray(processes) == number]) for number in numbers])
    freedom = len(logs) - 1
    half = stdtrit(freedom, (1 + bootstrap.CONFIDENCE_LEVEL) / 2) * logs.std(ddof=1)
    half /= np.sqrt(len(logs))
    low, median, high = np.exp(logs.mean() - half), np.median(blocks), np.exp(logs.mean() + half)
    return float(min(low, median)), float(max(high, median))


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
