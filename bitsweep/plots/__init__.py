"""The plots of a sweep, by name; each `draw(summary)` returns a Matplotlib figure to be saved.

A summary is the table of `bitsweep.tables.collect`. Precisions keep its order, and one that failed
keeps its slot, marked with the stage that failed.
"""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bitsweep.artifact import replacing
from bitsweep.plots import (
    accuracy,
    allocation,
    compare,
    dtypes,
    frontier,
    latency,
    outcomes,
    profile,
    roofline,
    sensitivity,
    size,
)

__all__ = [
    "PLOTS",
    "allocation",
    "compare",
    "frontier",
    "profile",
    "roofline",
    "save",
    "sensitivity",
    "write",
]

PLOTS = {
    "latency": latency.draw,
    "accuracy": accuracy.draw,
    "size": size.draw,
    "dtypes": dtypes.draw,
    "outcomes": outcomes.draw,
}


def write(name: str, summary: pd.DataFrame, path: Path | str) -> None:
    """Draw the plot `name` of a summary into a file, whose suffix tells the format, atomically."""
    save(PLOTS[name](summary), path)


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure to a file, whose suffix tells the format, atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary)
