"""Data types: what the compiler really computes in, in LLVM IR and in instructions.

Of a tool that shows no code, in the operators that it runs.
"""

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bitsweep.inspection import LLVM_TYPES
from bitsweep.plots import style
from bitsweep.plots.style import Panel

_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _BROWN, _PINK, _GREY, _YELLOW, _SKY = seaborn.color_palette(
    "colorblind", 10
)
_COLOURS = {"float": _ORANGE, "i8": _BLUE, "i16": _SKY, "i32": _GREEN, "others": _GREY}
_INSTRUCTIONS = {
    "int_dot": ("integer dot products", _BLUE),
    "bit_count": ("bit counts", _PINK),
    "float_fma": ("float FMAs", _ORANGE),
}


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: per model and engine, shares of data types beside instruction counts."""
    found = style.panels(summary, by=("model", "engine", "target"))
    drawing, axes = style.figure(found, width=7.2, beside=2)
    for panel, (left, right) in zip(found, axes, strict=True):
        for slot, row in panel.slots():
            if row["inspect_state"] != "ok":
                style.mark_missing(left, slot, row, panel, "inspect")
                continue
            _shares(left, slot, row, panel)
            if row["instructions"] is not pd.NA:
                _instructions(right, slot, row, panel)
        left.set_xlim(0, 100)
        if _shows_no_code(panel.rows):
            left.set_xlabel("data types of the operators that run (%)")
            right.set_visible(False)
            continue
        left.set_xlabel("data types in the LLVM IR (%)")
        right.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        style.scale_from_zero(right, panel.rows["instructions"])
        right.set_xlim(right=max(1.0, right.get_xlim()[1]) * 1.08)
        right.set_xlabel("instructions in the module")
    types = [Patch(color=colour, label=name) for name, colour in _COLOURS.items()]
    dots = [
        Patch(facecolor=colour, edgecolor=style.INK, label=label)
        for label, colour in _INSTRUCTIONS.values()
    ]
    style.legend(drawing, {}, [*types, *dots])
    return drawing


def _shows_no_code(rows: pd.DataFrame) -> bool:
    return bool(((rows["inspect_state"] == "ok") & rows["instructions"].isna()).any())


def _shares(ax: Axes, slot: float, row: pd.Series, panel: Panel) -> None:
    counts = dict.fromkeys(_COLOURS, 0)
    for dtype in LLVM_TYPES:
        counts[dtype if dtype in counts else "others"] += row[f"llvm_{dtype}"]
    total, left = sum(counts.values()) or 1, 0.0
    for dtype, count in counts.items():
        share = 100 * count / total
        ax.barh(slot, share, panel.bar, left=left, color=_COLOURS[dtype], zorder=2)
        left += share


def _instructions(ax: Axes, slot: float, row: pd.Series, panel: Panel) -> None:
    height = panel.bar / len(_INSTRUCTIONS)
    for place, (name, (_, colour)) in enumerate(_INSTRUCTIONS.items()):
        count = row[f"{name}_instructions"]
        y = slot + (place - (len(_INSTRUCTIONS) - 1) / 2) * height
        ax.barh(y, count, height, facecolor=colour, edgecolor=style.INK, linewidth=0.4, zorder=2)
        if count:
            ax.annotate(
                f"{count:,}",
                (count, y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=5,
            )
