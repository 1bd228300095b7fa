"""What two runs can tell of a module's speed.

Compared is the logarithm of the speed-up against float32 that each process measured, paired:
machines drift, and absolute times of two runs say little. Even paired, processes with the same
machine code differ by far more than one process's interval, by where memory lies; so a process
is one observation, and the interval is Welch's t over processes. Where a run has fewer than
`FEWEST` the spread between processes cannot be estimated and is taken to be `PRIOR`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control, t

FEWEST = 3
"""So many processes in both runs tell how much processes differ."""

PRIOR = 0.10
"""The standard deviation between processes of a logarithmic speed-up, where it is unknown.

Of eight processes each, six modules of digits and ResNet50 had 0.007 to 0.15.
"""

BAND = math.log(1.02)
"""Two speeds are the same where the whole interval of their ratio is within ±2 %."""

LEVEL = 0.05


@dataclass(frozen=True)
class Change:
    """How much faster a module became: a ratio above 1 is faster; its 95 % interval, and p."""

    ratio: float
    low: float
    high: float
    p: float


def change(old: Sequence[float], new: Sequence[float]) -> Change:
    """Return the change between two runs' speed-ups, one of each process, all positive."""
    logs = [np.log(np.asarray(run, dtype=float)) for run in (old, new)]
    difference = float(logs[1].mean() - logs[0].mean())
    if min(map(len, logs)) < FEWEST:
        error, freedom = PRIOR * math.sqrt(sum(1 / len(run) for run in logs)), math.inf
    else:
        parts = np.array([run.var(ddof=1) / len(run) for run in logs])
        error = math.sqrt(parts.sum())
        weights = [len(run) - 1 for run in logs]
        freedom = parts.sum() ** 2 / (parts**2 / weights).sum() if error else math.inf
    half = error * float(t.ppf(1 - LEVEL / 2, freedom))
    # Without any spread, what differs at all differs for certain.
    p = 2 * t.sf(abs(difference) / error, freedom) if error else float(difference == 0)
    ends = (math.exp(difference + side * half) for side in (0, -1, 1))
    return Change(*ends, float(p))


def verdicts(changes: Sequence[Change]) -> list[str]:
    """Return `same`, `faster`, `slower` or `inconclusive` for each experiment of a table.

    `same` is an interval within `BAND`; else faster and slower are those whose p, adjusted over
    the table (Benjamini and Hochberg, 1995), is below `LEVEL`. Where nothing changed, at most so
    large a share of tables has any.
    """
    if not changes:
        return []
    adjusted = false_discovery_control([change.p for change in changes])
    return [_verdict(change, p) for change, p in zip(changes, adjusted, strict=True)]


def _verdict(change: Change, p: float) -> str:
    if math.log(change.low) >= -BAND and math.log(change.high) <= BAND:
        return "same"
    if p >= LEVEL:
        return "inconclusive"
    return "faster" if change.ratio > 1 else "slower"
