"""How often the interval of a median holds the truth, by simulation.

    python benchmarks/coverage.py [SERIES]

Of 300 series each, or as many as are named. The latencies of a module and of its baseline are made
up, so that the true medians are known: their blocks' logarithms are an autoregressive process of
order 1, alone, or with what happens to both modules at once: a drift of a third, and bursts of
three times the latency.
"""

import sys
from pathlib import Path

import numpy as np
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep import bootstrap, statistics

MEDIAN_MS, SPEEDUP = 10.0, 1.5
CORRELATIONS = (0.0, 0.3, 0.6, 0.85)
BLOCKS = (20, 40, 80, 200)
SPREAD = 0.05
_SETTLING = 100


def autoregressive(count: int, correlation: float, generator: np.random.Generator) -> np.ndarray:
    """Return a stationary process of `count` values, standard normal each, of shape (count,)."""
    noise = generator.standard_normal(count + _SETTLING)
    values = [noise[0]]
    for innovation in noise[1:]:
        values.append(correlation * values[-1] + np.sqrt(1 - correlation**2) * innovation)
    return np.array(values[_SETTLING:])


def disturbance(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return the factors of a drift and of bursts, some five blocks each, of shape (count,)."""
    bursts = np.zeros(count, bool)
    for start in np.flatnonzero(generator.random(count) < 0.03):
        bursts[start : start + generator.geometric(0.2)] = True
    return np.linspace(1, 4 / 3, count) * np.where(bursts, 3, 1)


def latency_coverage(count: int, correlation: float, series: int, seed: int = 0) -> float:
    """Return how often the interval of the latency holds the median of the process."""
    generator, held = np.random.default_rng(seed), 0
    for _ in range(series):
        blocks = MEDIAN_MS * np.exp(SPREAD * autoregressive(count, correlation, generator))
        figures = statistics.summarize(blocks[:, np.newaxis])
        held += figures["median_low_ms"] <= MEDIAN_MS <= figures["median_high_ms"]
    return held / series


def speedup_coverage(count: int, correlation: float, series: int, seed: int = 0) -> float:
    """Return how often the interval of the speed-up holds it, on a disturbed machine."""
    generator, held = np.random.default_rng(seed), 0
    for _ in range(series):
        shared = MEDIAN_MS * disturbance(count, generator)
        candidate, baseline = (
            shared * np.exp(SPREAD * autoregressive(count, correlation, generator))
            for _ in range(2)
        )
        figures = statistics.paired_speedup(
            SPEEDUP * baseline[:, np.newaxis], candidate[:, np.newaxis]
        )
        held += figures["low"] <= SPEEDUP <= figures["high"]
    return held / series


def main(series: str = "300") -> None:
    bootstrap.RESAMPLES = 1999  # a fifth of a benchmark's, which takes an hour
    for name, coverage in (("latency", latency_coverage), ("speed-up", speedup_coverage)):
        rows = [
            [count, *(coverage(count, correlation, int(series)) for correlation in CORRELATIONS)]
            for count in BLOCKS
        ]
        print(f"{name}: share of 95% intervals that hold the truth, by blocks and correlation")
        print(tabulate(rows, ["blocks", *CORRELATIONS], floatfmt=".2f"))


if __name__ == "__main__":
    main(*sys.argv[1:])
