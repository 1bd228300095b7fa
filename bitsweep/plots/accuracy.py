"""Accuracy: the share of images answered right, or as PyTorch answers them, by precision."""

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bitsweep.plots import style
from bitsweep.plots.style import Panel

_Z = 1.959964  # the normal distribution's 97.5% quantile


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: a panel per model; accuracy where there are labels, else agreement."""
    found = style.panels(summary)
    colours = style.engine_colours(summary)
    drawing, axes = style.figure(found, width=7.2)
    for panel, (ax,) in zip(found, axes, strict=True):
        _draw_panel(ax, panel, colours)
    extra = [
        Patch(facecolor="white", edgecolor=style.GREY, hatch="////", label="degenerate"),
        style.line_entry("PyTorch, float32"),
    ]
    style.legend(drawing, colours, extra)
    return drawing


def _draw_panel(ax, panel: Panel, colours) -> None:
    labelled = panel.rows["labelled"].fillna(False).any()
    column = "top1_accuracy" if labelled else "top1_agreement"
    style.beside_titles(ax, "top-1", "SQNR")
    for slot, row in panel.slots():
        if row[column] is pd.NA:
            style.mark_missing(ax, slot, row, panel, "evaluate")
            continue
        degenerate = row["degenerate"] is not pd.NA and bool(row["degenerate"])
        colour = colours[row["engine"]]
        ax.barh(
            slot,
            100 * row[column],
            panel.bar,
            facecolor="white" if degenerate else colour,
            edgecolor=colour,
            hatch="////" if degenerate else None,
            zorder=2,
        )
        low, high = (100 * bound for bound in wilson_interval(row[column], row["images"]))
        ax.hlines(slot, low, high, color=style.INK, linewidth=1, zorder=3)
        if degenerate:
            beyond = high + 1.5 if high < 80 else 2  # or it would leave the axes
            ax.text(
                beyond,
                slot,
                "degenerate",
                va="center",
                fontsize=7.5,
                color=style.FAILED,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        style.beside(ax, slot, *_figures(row, column))
    references = panel.rows["reference_top1_accuracy"].dropna()
    if not labelled:
        style.reference(ax, 100)
    elif len(references):
        style.reference(ax, 100 * references.iloc[0])
    ax.set_xlim(0, 101)
    images = panel.rows["images"].dropna()
    over = f", {images.iloc[0]} images" if len(images) else ""
    what = "top-1 accuracy" if labelled else "top-1 agreement with PyTorch"
    ax.set_xlabel(f"{what} (%{over}, with its 95% interval)")


def _figures(row: pd.Series, column: str) -> tuple[str, str]:
    share = f"{row[column]:.1%}"
    if row["exact"]:
        return share, "exact"
    return share, "" if row["sqnr_db"] is pd.NA else f"{row['sqnr_db']:z.1f} dB".replace("-", "−")


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share of `count` images (Wilson, 1927)."""
    weight = _Z**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / count / 4)
    return middle - half, middle + half
