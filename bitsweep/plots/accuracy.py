"""Accuracy against bits: what each bit width costs, in every engine that has it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bitsweep.metrics import wilson_interval
from bitsweep.plots import style
from bitsweep.plots.style import Panel

_MARKERS = {32: "*", 8: "o", 4: "s", 2: "^", 1: "D"}  # by bits of the activations
_OTHER_MARKER = "p"
_SLOT_INCHES, _HEIGHT_INCHES, _BESIDE_INCHES = 0.5, 3.1, 1.0
_APART = 0.21  # of an engine's marker from the middle of a slot with two
_STRIP = 0.38  # the part of the axes, at the bottom, for what failed

Slot = tuple[int, int, str]  # bits of weights, of activations, the precision's name


@dataclass(frozen=True)
class _Measure:
    """What the height of a marker says: a column of the summary, in a unit."""

    column: str
    factor: float
    label: str
    form: str


_ACCURACY = _Measure("top1_accuracy", 100, "top-1 accuracy (%{images})", ".1f")
_SQNR = _Measure("sqnr_db", 1, "SQNR against PyTorch (dB{images})", "z.1f")


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: a panel per model, bits falling to the right.

    Height is top-1 accuracy where there are labels, else SQNR. Colours are engines, markers the
    bits of the activations; lines join what an engine does at one number of these. A dashed line is
    what the best constant answer would have.
    """
    found = style.panels(summary)
    colours = style.engine_colours(summary)
    slots = max(len(_slots(panel)) for panel in found)
    size = (slots * _SLOT_INCHES + _BESIDE_INCHES, len(found) * _HEIGHT_INCHES + 0.45)
    drawing = Figure((max(size[0], 7.2), size[1]), dpi=200, layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.08, hspace=0.06)
    axes = drawing.subplots(len(found), 1, squeeze=False)[:, 0]
    for panel, ax in zip(found, axes, strict=True):
        _draw_panel(ax, panel, colours)
    activations = sorted(set(summary["activation_bits"]), reverse=True)
    extra = [
        *(_entry(f"{bits}-bit activations", marker=_marker(bits)) for bits in activations),
        _entry("degenerate", marker="o", markerfacecolor="white"),
        _entry("failed", marker="x", color=style.FAILED),
    ]
    style.legend(drawing, colours, extra, columns=5)
    return drawing


def _draw_panel(ax: Axes, panel: Panel, colours: Mapping[str, object]) -> None:
    labelled = panel.rows["labelled"].fillna(False).any()
    measure = _ACCURACY if labelled else _SQNR
    slots = _slots(panel)
    low, high = _limits(panel, measure)
    bottom = low - (high - low) * _STRIP / (1 - _STRIP)
    ax.set_title(panel.title, pad=16)
    ax.set_xlim(-0.5, len(slots) - 0.5)
    ax.set_ylim(bottom, high)
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.grid(axis="y")
    ax.axhspan(bottom, low, color="#faf3ef", zorder=0)
    _bands(ax, slots)
    for engine in panel.engines:
        rows = [(x, row) for x, row in _places(panel, slots) if row["engine"] == engine]
        _lines(ax, rows, measure, colours[engine])
        for x, row in rows:
            if row["evaluate_state"] == "ok":
                _point(ax, x, row, measure, colours[engine], (low, high))
            else:
                _failure(ax, x, row, colours[engine], low)
    references = panel.rows["reference_top1_accuracy"].dropna()
    if labelled and len(references):
        style.reference_level(ax, 100 * references.iloc[0], "PyTorch")
    if (level := _constants_level(panel, measure)) is not None:
        style.reference_level(ax, level, "constant")
    images = panel.rows["images"].dropna()
    over = f", {images.iloc[0]} images" if len(images) else ""
    ax.set_ylabel(measure.label.format(images=over))
    ax.set_xticks(range(len(slots)), [name for *_, name in slots])
    for label in ax.get_xticklabels():
        label.set(rotation=30, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="x", length=0)


def _slots(panel: Panel) -> list[Slot]:
    """Return what is beside each other: most bits of the weights first, then of the activations."""
    rows = panel.rows[["weight_bits", "activation_bits", "precision"]].itertuples(index=False)
    slots = dict.fromkeys((int(w), int(a), name) for w, a, name in rows)
    return sorted(slots, key=lambda slot: (-slot[0], -slot[1]))


def _places(panel: Panel, slots: list[Slot]) -> Iterator[tuple[float, pd.Series]]:
    """Yield each experiment with its place on the horizontal axis."""
    count = len(panel.engines)
    for _, row in panel.rows.iterrows():
        slot = (int(row["weight_bits"]), int(row["activation_bits"]), row["precision"])
        step = panel.engines.index(row["engine"]) - (count - 1) / 2
        yield slots.index(slot) + 2 * _APART * step / max(count - 1, 1), row


def _limits(panel: Panel, measure: _Measure) -> tuple[float, float]:
    """Return the scale's ends; float32's SQNR, far above all others, is not to set them."""
    if measure is _ACCURACY:
        return 0, 119
    quantized = panel.rows[panel.rows["weight_bits"] < 32]
    values = [*(quantized if len(quantized) else panel.rows)[measure.column].dropna()]
    if (level := _constants_level(panel, measure)) is not None:
        values.append(level)
    low, high = min([0.0, *values]), max([10.0, *values])
    return low - 0.04 * (high - low), high + 0.22 * (high - low)


def _constants_level(panel: Panel, measure: _Measure) -> float | None:
    """Return what the best constant answer would have, the same for all experiments of a model."""
    if measure is _ACCURACY:
        levels = 100 * panel.rows["constant_accuracy"]
    else:
        levels = panel.rows["sqnr_db"] - panel.rows["centred_sqnr_db"]
    levels = levels.dropna()
    return levels.iloc[0] if len(levels) else None


def _bands(ax: Axes, slots: list[Slot]) -> None:
    """Head the slots of each number of bits of the weights, and set them apart."""
    widths = [weights for weights, *_ in slots]
    for bits in dict.fromkeys(widths):
        first, count = widths.index(bits), widths.count(bits)
        middle = first + (count - 1) / 2
        ax.annotate(
            f"{bits} bit{'s' * (bits > 1)}",
            (middle, 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            color=style.GREY,
        )
        if first:
            ax.axvline(first - 0.5, color=style.GREY, linewidth=0.6, zorder=0)


def _lines(ax: Axes, rows, measure: _Measure, colour) -> None:
    """Join the quantized experiments of one engine that share the bits of their activations."""
    series: dict[int, list[tuple[float, float]]] = {}
    for x, row in sorted(rows, key=lambda placed: placed[0]):
        if row["weight_bits"] < 32 and row[measure.column] is not pd.NA:
            value = row[measure.column] * measure.factor
            series.setdefault(row["activation_bits"], []).append((x, value))
    for points in series.values():
        ax.plot(*np.transpose(points), color=colour, linewidth=0.9, alpha=0.5, zorder=2)


def _point(ax: Axes, x: float, row: pd.Series, measure: _Measure, colour, limits) -> None:
    low, high = limits
    degenerate = row["degenerate"] is not pd.NA and bool(row["degenerate"])
    share = row[measure.column]
    if share is pd.NA:  # no error, or not a number
        value, told = high, "exact" if row["exact"] else "not finite"
    else:
        value = share * measure.factor
        told = format(value, measure.form).replace("-", "−")
    beyond = value >= high or share is pd.NA
    y = high - 0.04 * (high - low) if beyond else value
    if measure is _ACCURACY and not beyond:
        bounds = [100 * bound for bound in wilson_interval(share, row["images"])]
        ax.vlines(x, *bounds, color=style.INK, linewidth=0.9, zorder=3)
    ax.plot(
        x,
        y,
        _marker(row["activation_bits"]),
        markersize=8 if row["activation_bits"] == 32 else 5.5,
        color=colour,
        markerfacecolor="white" if degenerate else colour,
        zorder=4,
    )
    ax.annotate(
        told,
        (x, y),
        (0, -7 if beyond else 7),
        textcoords="offset points",
        ha="center",
        va="top" if beyond else "bottom",
        fontsize=6.3,
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
    )


def _failure(ax: Axes, x: float, row: pd.Series, colour, low: float) -> None:
    """Mark an experiment without an answer, below the scale, with what failed."""
    ax.plot(
        x,
        low,
        "x",
        color=colour,
        markersize=6,
        markeredgewidth=1.8,
        zorder=4,
    )
    ax.annotate(
        style.why_missing(row, "evaluate"),
        (x, low),
        (0, -6),
        textcoords="offset points",
        rotation=90,
        ha="center",
        va="top",
        fontsize=6,
        color=style.FAILED,
    )


def _marker(activation_bits: int) -> str:
    return _MARKERS.get(int(activation_bits), _OTHER_MARKER)


def _entry(label: str, **look) -> Line2D:
    return Line2D([], [], linestyle="none", label=label, **{"color": style.GREY, **look})
