"""Size: what the compiled module weighs on disk, and its ratio to float32's, by precision."""

import pandas as pd
from matplotlib.figure import Figure

from bitsweep.plots import style


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: a panel per model with its own scale in MB (10^6 bytes)."""
    found = style.panels(summary)
    colours = style.engine_colours(summary)
    drawing, axes = style.figure(found, width=7.2)
    for panel, (ax,) in zip(found, axes, strict=True):
        style.beside_titles(ax, "module.so", "of float32")
        for slot, row in panel.slots():
            if row["module_size_bytes"] is pd.NA:
                style.mark_missing(ax, slot, row, panel, "export")
                continue
            megabytes = row["module_size_bytes"] / 1e6
            ax.barh(slot, megabytes, panel.bar, color=colours[row["engine"]], zorder=2)
            ratio = row["size_vs_float32"]
            size = f"{megabytes:#.3g}".rstrip(".") + " MB"
            style.beside(ax, slot, size, "" if ratio is pd.NA else f"{ratio:.2f}×")
            if row["precision"] == "float32":
                style.reference(ax, megabytes, colours[row["engine"]])
        style.scale_from_zero(ax, panel.rows["module_size_bytes"])
        ax.set_xlabel("size of module.so, weights included (MB)")
    style.legend(drawing, colours, [style.line_entry("size of float32")])
    return drawing
