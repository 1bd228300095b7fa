"""What tuning gives a network in floats, and what it gives it quantized.

The guess of who sees a quantized network run slower than its floats, next to TVM's word that
operators have not been tuned, is that tuning would help both, and the quantized network more.
"""

import math

import pandas as pd

from bitsweep.config import BASELINE


def sentences(summary: pd.DataFrame) -> list[str]:
    """Return what tuning gives, of each model, engine and target of which it is known.

    Of each quantized experiment it is told whether the guess holds: by intervals, or that they do
    not tell.
    """
    told = []
    known = summary.dropna(subset=["speedup_vs_untuned"])
    for (model, engine, target), group in known.groupby(["model", "engine", "target"], sort=False):
        rows = {row["precision"]: row for _, row in group.iterrows()}
        if BASELINE not in rows:
            continue
        gains = [f"{precision} {_gain(row)}" for precision, row in rows.items()]
        parts = [f"{model}/{engine}/{target}: tuning makes {', '.join(gains)} as fast"]
        parts += [
            f"that it helps both, and {precision} more, {_verdict(rows[BASELINE], row)}"
            for precision, row in rows.items()
            if precision != BASELINE
        ]
        told.append("; ".join(parts))
    return told


def ratio(of: tuple[float, float, float], to: tuple[float, float, float]) -> tuple[float, ...]:
    """Return the ratio of two independent estimates, each (value, low, high), with its interval.

    Both are positive. In logarithms it is the interval of a difference from the two intervals
    (MOVER: Zou and Donner, 2008).
    """
    a, low_a, high_a = map(math.log, of)
    b, low_b, high_b = map(math.log, to)
    found = a - b
    low = found - math.hypot(a - low_a, high_b - b)
    high = found + math.hypot(high_a - a, b - low_b)
    return math.exp(found), math.exp(low), math.exp(high)


def _verdict(floats: pd.Series, quantized: pd.Series) -> str:
    pair = [_estimate(row) for row in (floats, quantized)]
    if any(pd.isna(end) for estimate in pair for end in estimate):
        return "cannot be told without intervals"
    more, low, high = ratio(pair[1], pair[0])
    told = f"({more:.2f} [{low:.2f}, {high:.2f}] of what float32 gains)"
    if low > 1 and all(low > 1 for _, low, _ in pair):
        return f"holds {told}"
    if high < 1 or any(high < 1 for _, _, high in pair):
        return f"does not hold {told}"
    return f"cannot be told {told}"


def _estimate(row: pd.Series) -> tuple[float, float, float]:
    return tuple(
        row[name] for name in ("speedup_vs_untuned", "untuned_speedup_low", "untuned_speedup_high")
    )


def _gain(row: pd.Series) -> str:
    value, low, high = _estimate(row)
    return f"{value:.2f}x" + ("" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]")
