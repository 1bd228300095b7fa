"""Allocation: the bits of each layer that searches chose, beside what they cost there."""

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bitsweep.plots import style

_LAYER_INCHES, _LEAST_LAYERS = 0.15, 5
_CELL_INCHES, _FIGURES_INCHES = 0.42, 1.75
_BITS = seaborn.color_palette("crest", as_cmap=True)
_SHADE = "#f6f6f6"
_FIGURES = {
    "bytes": "bytes ({unit})",
    "latency_ms": "time (ms)",
    "error": "error, this layer alone (nats)",
}


@style.styled
def draw(table: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Return the plot of chosen plans by layer (`bitsweep.answer.layers`): a block per network.

    Layers are in the network's order, downwards. A column of cells per search has the bits of the
    weights, over those of the input where these are not 8. Beside them, a colour per search, are
    bytes, time where layers were timed, and the error of the network with only this layer
    quantized, at the bits that were chosen and, as a tick, at the fewest that were tried. The
    summary tells which models are untrained.
    """
    groups = list(table.groupby(["model", "target"], sort=False))
    timed = bool(table["latency_ms"].notna().any())
    searches = list(dict.fromkeys(table["precision"]))
    palette = seaborn.color_palette("colorblind")
    colours = {name: palette[i % len(palette)] for i, name in enumerate(searches)}
    counts = [max(group["layer"].nunique(), _LEAST_LAYERS) for _, group in groups]
    cells = max(group["precision"].nunique() for _, group in groups) * _CELL_INCHES
    names = [name for name in _FIGURES if name != "latency_ms" or timed]
    drawing = Figure(
        (
            1.7 + cells + _FIGURES_INCHES * len(names),
            sum(counts) * _LAYER_INCHES + 1.5 * len(groups) + 0.35,
        ),
        dpi=200,
        layout="constrained",
    )
    drawing.get_layout_engine().set(w_pad=0.05, h_pad=0.08, hspace=0.03, wspace=0.02)
    grid = drawing.add_gridspec(
        len(groups),
        1 + len(names),
        height_ratios=counts,
        width_ratios=[cells, *[_FIGURES_INCHES] * len(names)],
    )
    several = table["target"].nunique() > 1
    for line, ((model, target), group) in enumerate(groups):
        axes = [drawing.add_subplot(grid[line, column]) for column in range(1 + len(names))]
        title = style.model_title(summary[summary["model"] == model].iloc[0])
        axes[0].set_title(f"{title}, {target}" if several else title, pad=8)
        _draw_block(axes, group, names, colours)
    shown = {name: colours[name] for name in table.dropna(subset=["layer"])["precision"].unique()}
    least = Line2D(
        [], [], linestyle="", marker="|", markersize=7, color=style.GREY, label="at the fewest bits"
    )
    style.legend(drawing, shown, [least] if shown else [])
    return drawing


def _draw_block(axes: list[Axes], group: pd.DataFrame, names: list[str], colours) -> None:
    layers = group.dropna(subset=["layer"])
    order = layers.drop_duplicates("position").sort_values("position")["layer"].tolist()
    for ax in axes:
        ax.set_ylim(max(len(order), 1) - 0.5, -0.5)
        ax.set_yticks([])
        seaborn.despine(ax=ax, left=True)
        for position in range(0, len(order), 2):
            ax.axhspan(position - 0.5, position + 0.5, color=_SHADE, zorder=0)
    _draw_cells(axes[0], group, order)
    for ax, name in zip(axes[1:], names, strict=True):
        ax.set_xlabel(_FIGURES[name].format(unit=_unit(layers)[0]))
        ax.grid(axis="x")
        if name == "error":
            _draw_errors(ax, layers, colours)
        else:
            _draw_bars(ax, layers, name, colours)
        if layers[name].isna().all():
            ax.set_visible(False)


def _draw_cells(ax: Axes, group: pd.DataFrame, order: list[str]) -> None:
    searches = list(dict.fromkeys(group["precision"]))
    ax.set_xlim(-0.5, len(searches) - 0.5)
    ax.set_xticks(range(len(searches)), searches, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(order)), order, fontsize=6)
    ax.tick_params(length=0)
    ax.set_xlabel("bits")
    seaborn.despine(ax=ax, left=True, bottom=True)
    scale = LogNorm(1, 8)
    for column, search in enumerate(searches):
        rows = group[group["precision"] == search]
        if rows["layer"].isna().all():
            ax.text(
                column,
                0.5,
                f"✕  failed@{rows['failed_stage'].iloc[0]}",
                transform=ax.get_xaxis_transform(),
                rotation=90,
                ha="center",
                va="center",
                fontsize=7,
                color=style.FAILED,
            )
            continue
        for _, row in rows.iterrows():
            weights, inputs = row["weight_bits"], row["input_bits"]
            ax.barh(row["position"], 0.9, 0.9, column - 0.45, color=_BITS(scale(weights)), zorder=2)
            ax.text(
                column,
                row["position"],
                f"{weights}" if inputs == 8 else f"{weights}/{inputs}",
                ha="center",
                va="center_baseline",
                fontsize=6,
                color="white" if weights >= 3 else style.INK,
                zorder=3,
            )


def _draw_bars(ax: Axes, layers: pd.DataFrame, name: str, colours) -> None:
    searches = list(dict.fromkeys(layers["precision"]))
    thickness = 0.8 / max(len(searches), 1)
    for index, search in enumerate(searches):
        rows = layers[layers["precision"] == search]
        amounts = rows[name].astype(float) / (_unit(layers)[1] if name == "bytes" else 1)
        offset = (index - (len(searches) - 1) / 2) * thickness
        ax.barh(
            rows["position"] + offset, amounts, 0.9 * thickness, color=colours[search], zorder=2
        )
    ax.set_xlim(left=0)


def _unit(layers: pd.DataFrame) -> tuple[str, float]:
    """Return the unit of bytes, and how many bytes it has."""
    return ("MB", 1e6) if len(layers) and layers["bytes"].max() >= 1e6 else ("kB", 1e3)


def _draw_errors(ax: Axes, layers: pd.DataFrame, colours) -> None:
    if layers.empty:
        return
    errors = layers[["error", "least_error"]].astype(float).to_numpy()
    # An error that rounding leaves at nothing has its place at the left end.
    end = 0.5 * errors[errors > 0].min() if (errors > 0).any() else 1e-9
    ax.set_xscale("log")
    ax.minorticks_off()
    first = layers.drop_duplicates("position")
    ax.plot(
        np.maximum(first["least_error"].astype(float), end),
        first["position"],
        "|",
        color=style.GREY,
        markersize=7,
        zorder=2,
    )
    searches = list(dict.fromkeys(layers["precision"]))
    for index, search in enumerate(searches):
        rows = layers[layers["precision"] == search]
        offset = (index - (len(searches) - 1) / 2) * 0.8 / len(searches)
        ax.plot(
            np.maximum(rows["error"].astype(float), end),
            rows["position"] + offset,
            "o",
            color=colours[search],
            markersize=3.2,
            zorder=3,
        )
