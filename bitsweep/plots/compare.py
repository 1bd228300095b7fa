"""Two runs compared: the ratio of speeds and the difference of accuracies, by experiment."""

import math

import pandas as pd
import seaborn
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from bitsweep.compare.speed import BAND
from bitsweep.plots import style
from bitsweep.tables import experiment_name

_BLUE, _, _GREEN, _RED, *_ = seaborn.color_palette("colorblind")
_COLOURS = {"faster": _BLUE, "slower": _RED, "same": _GREEN, "inconclusive": style.GREY}
_OF_ACCURACY = {"more_accurate": _BLUE, "less_accurate": _RED}
_ROW_INCHES = 0.2


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Return the plot of a comparison (`compare.table`): a row for each experiment."""
    drawing = Figure((8.4, 1.3 + _ROW_INCHES * len(table)), dpi=200, layout="constrained")
    speeds, accuracies = drawing.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    speeds.axvspan(math.exp(-BAND), math.exp(BAND), color=style.PALE, zorder=0)
    for ax in (speeds, accuracies):
        ax.grid(axis="x")
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
    for slot, (_, row) in enumerate(table.iterrows()):
        if pd.notna(row["ratio"]):
            _interval(speeds, slot, row, "ratio", 1, _COLOURS[row["speed"]])
        if pd.notna(row["accuracy_difference"]):
            colour = _OF_ACCURACY.get(row["accuracy"], style.GREY)
            changed = row["accuracy"] in _OF_ACCURACY
            _interval(accuracies, slot, row, "accuracy_difference", 100, colour, filled=changed)
        if told := _margin(row):
            accuracies.annotate(
                told,
                (1, slot),
                (6, 0),
                xycoords=accuracies.get_yaxis_transform(),
                textcoords="offset points",
                va="center",
                fontsize=6.5,
                color=style.FAILED if pd.notna(row["failure"]) else style.GREY,
            )
    speeds.set_yticks(range(len(table)), [experiment_name(row) for _, row in table.iterrows()])
    speeds.set_ylim(len(table) - 0.5, -0.5)
    speeds.set_xscale("log")
    speeds.xaxis.set_major_locator(MaxNLocator(5))
    speeds.xaxis.set_minor_locator(NullLocator())
    speeds.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    style.reference(speeds, 1)
    style.reference(accuracies, 0)
    speeds.set_xlabel("speed relative to float32, new over old (more is faster)")
    accuracies.set_xlabel("accuracy, new less old (points)")
    entries = [Line2D([], [], color=c, marker="o", label=name) for name, c in _COLOURS.items()]
    drawing.legend(handles=entries, loc="outside lower center", ncols=4)
    return drawing


def _interval(ax, slot, row, name, factor, colour, filled=True) -> None:
    low, high = (factor * row[f"{name}_{end}"] for end in ("low", "high"))
    ax.hlines(slot, low, high, color=colour, linewidth=1.3)
    face = colour if filled else "white"
    ax.plot(factor * row[name], slot, "o", color=colour, markerfacecolor=face, markersize=4)


def _margin(row: pd.Series) -> str:
    """Return what became of failures, or why speeds cannot be compared."""
    if pd.notna(row["failure"]):
        # Where it fails is long: the table has it whole.
        where = row["new_failure"] if pd.notna(row["new_failure"]) else row["old_failure"]
        return f"{row['failure']}: failed@{where.split(':')[0]}"
    return row["why"] if row["speed"] == "incomparable" else ""
