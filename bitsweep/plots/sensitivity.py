"""Sensitivity: what each layer costs a network, quantized alone, beside what the layer is."""

from collections.abc import Mapping

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bitsweep.plots import style

_LAYER_INCHES = 0.145
_SHARES = {"macs": "multiplications", "weights": "weights"}


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Return the plot of a table of sensitivities: a panel per model and target.

    Left, the network's SQNR with only this layer quantized, a colour per precision; right, the
    layer's share of all multiplications and weights. Layers are in the network's order, downwards.
    """
    several = table["target"].nunique() > 1
    groups = [group for _, group in table.groupby(["model", "target"], sort=False)]
    palette = seaborn.color_palette("colorblind")
    precisions = list(table["precision"].unique())
    colours = dict(zip(precisions, palette, strict=False))
    counts = [max(group["layer"].nunique(), 4) for group in groups]
    drawing = Figure(
        (7.6, sum(counts) * _LAYER_INCHES + 0.95 * len(groups) + 0.35),
        dpi=200,
        layout="constrained",
    )
    drawing.get_layout_engine().set(w_pad=0.06, h_pad=0.08, hspace=0.03, wspace=0.02)
    grid = drawing.add_gridspec(len(groups), 2, height_ratios=counts, width_ratios=[3, 1])
    for line, group in enumerate(groups):
        left, right = (drawing.add_subplot(grid[line, column]) for column in range(2))
        first = group.iloc[0]
        left.set_title(f"{first['model']}, {first['target']}" if several else first["model"], pad=8)
        _draw_panel(left, right, group, colours)
    shares = [
        Patch(color=colour, label=f"share of {what}")
        for what, colour in zip(_SHARES.values(), (style.INK, style.GREY), strict=True)
    ]
    style.legend(drawing, colours, shares)
    return drawing


def _draw_panel(left: Axes, right: Axes, group: pd.DataFrame, colours: Mapping[str, object]):
    layers = group.dropna(subset=["layer"])
    names = layers.drop_duplicates("position").sort_values("position")["layer"].tolist()
    failed = group[group["layer"].isna()]
    for index, (_, row) in enumerate(failed.iterrows()):
        told = f"✕  {row['precision']} failed@{row['failed_stage']}"
        y = (index + 0.5) / (len(failed) + 1)
        left.text(0.02, y, told, transform=left.transAxes, fontsize=7.5, color=style.FAILED)
    for ax in (left, right):
        ax.set_ylim(max(len(names), 4) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        seaborn.despine(ax=ax, left=True)
        ax.set_yticks([])
    if names:
        left.set_yticks(range(len(names)), names, fontsize=6)
        for position in range(0, len(names), 2):
            left.axhspan(position - 0.5, position + 0.5, color="#f6f6f6", zorder=0)
            right.axhspan(position - 0.5, position + 0.5, color="#f6f6f6", zorder=0)
    for precision, of_precision in layers.groupby("precision", sort=False):
        exact = of_precision["output_sqnr_db"].isna()
        shown = of_precision[~exact]
        left.scatter(
            shown["output_sqnr_db"], shown["position"], s=14, color=colours[precision], zorder=3
        )
    one = layers[layers["precision"] == layers["precision"].iloc[0]] if len(layers) else layers
    for offset, (column, colour) in zip(
        (-0.2, 0.2), zip(_SHARES, (style.INK, style.GREY), strict=True), strict=True
    ):
        share = 100 * one[column].astype(float) / max(one[column].sum(), 1)
        right.barh(one["position"] + offset, share, 0.34, color=colour, zorder=2)
    left.set_xlabel("SQNR of the network's output, only this layer quantized (dB)")
    right.set_xlabel("share (%)")
