"""Latency: the median with its 95% interval, and the speed-up against float32, by precision."""

import pandas as pd
from matplotlib.figure import Figure

from bitsweep.plots import style


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: a panel per model with its own scale in ms, engines in colours."""
    found = style.panels(summary)
    colours = style.engine_colours(summary)
    drawing, axes = style.figure(found, width=7.2)
    for panel, (ax,) in zip(found, axes, strict=True):
        style.beside_titles(ax, "median", "speed-up [95% interval]")
        for slot, row in panel.slots():
            if row["latency_median_ms"] is pd.NA:
                style.mark_missing(ax, slot, row, panel, "benchmark")
                continue
            median, low, high = (row[f"latency_{name}_ms"] for name in ("median", "low", "high"))
            colour = colours[row["engine"]]
            ax.hlines(slot, 0, median, color=colour, linewidth=1.2, alpha=0.45, zorder=2)
            ax.errorbar(
                median,
                slot,
                xerr=[[median - low], [high - median]],
                fmt="o",
                markersize=5,
                capsize=3,
                elinewidth=1.3,
                color=colour,
                ecolor=style.INK,
                zorder=3,
            )
            style.beside(ax, slot, *_figures(row))
            if row["precision"] == "float32":
                style.reference(ax, median, colour)
        style.scale_from_zero(ax, panel.rows["latency_median_ms"])
        ax.set_xlabel("latency of one image (ms, less is better)")
    style.legend(drawing, colours, [style.line_entry("median of float32")])
    return drawing


def _figures(row: pd.Series) -> tuple[str, str]:
    median = f"{row['latency_median_ms']:#.3g}".rstrip(".") + " ms"
    if row["speedup_vs_float32"] is pd.NA:
        return median, ""
    low, high = row["speedup_low"], row["speedup_high"]
    return median, f"{row['speedup_vs_float32']:.2f}× [{low:.2f}, {high:.2f}]"
