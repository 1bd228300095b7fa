"""Accuracy against bits: what each bit width costs, in every engine that has it."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bitsweep.pairs import CHANCE, difference_interval
from bitsweep.plots import style
from bitsweep.plots.style import Panel
from bitsweep.proportions import wilson_interval

_MARKERS = {32: "*", 8: "o", 4: "s", 2: "^", 1: "D"}  # by bits of the activations
_OTHER_MARKER = "p"
_MIXED = 0  # where the bits differ from layer to layer
_SLOT_INCHES, _BESIDE_INCHES = 0.5, 1.0
_HEIGHT_INCHES, _DIFFERENCE_INCHES = 3.4, 1.6
_APART, _FAR_APART = 0.21, 0.33  # of a marker from the middle of a slot with two, with more
_LINE_POINTS = 7  # of a marker's text
_STRIP = 0.31  # the part of the axes, at the bottom, for what failed
_BAND = "#dfe8ee"
_POINT_TICKS = (-50, -10, -3, -1, 0, 1, 3, 10, 50)

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
    """Return the plot: a panel per model, bits falling to the right, mixed ones last.

    Height is top-1 accuracy where there are labels, else SQNR. Colours are engines, markers the
    bits of the activations; lines join what an engine does at one number of these. A dashed line is
    what the best constant answer would have. Bars are 95% intervals, a band PyTorch's own. Below
    accuracies are their differences from float32's, whose intervals are of the images in pairs, and
    whose band is what no changed answer at all leaves open.
    """
    summary = summary.fillna({"weight_bits": _MIXED, "activation_bits": _MIXED})
    found = style.panels(summary)
    colours = style.engine_colours(summary)
    slots = max(len(_slots(panel)) for panel in found)
    heights = [
        height
        for panel in found
        for height in (_HEIGHT_INCHES, _DIFFERENCE_INCHES)[: 1 + _labelled(panel)]
    ]
    size = (max(slots * _SLOT_INCHES + _BESIDE_INCHES, 7.2), sum(heights) + 0.6)
    drawing = Figure(size, dpi=200, layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.04, hspace=0.02)
    axes = iter(
        drawing.subplots(len(heights), squeeze=False, gridspec_kw={"height_ratios": heights}).flat
    )
    for panel in found:
        ax = next(axes)
        _draw_panel(ax, panel, colours)
        if _labelled(panel):
            ax.set_xticks([])
            ax = next(axes)
            _draw_differences(ax, panel, colours)
        _name_slots(ax, _slots(panel))
    activations = sorted(set(summary["activation_bits"]), reverse=True)
    extra = [
        *(
            _entry(f"{f'{bits}-bit' if bits else 'mixed'} activations", marker=_marker(bits))
            for bits in activations
        ),
        _entry("degenerate", marker="o", markerfacecolor="white"),
        _entry("failed", marker="x", color=style.FAILED),
    ]
    if any(map(_labelled, found)):
        extra.append(Patch(color=_BAND, label="PyTorch's 95% interval"))
        extra.append(_entry("more than chance", marker=(5, 2), color=style.INK))
    style.legend(drawing, colours, extra)
    return drawing


def _labelled(panel: Panel) -> bool:
    return bool(panel.rows["labelled"].fillna(False).any())


def _draw_panel(ax: Axes, panel: Panel, colours: Mapping[str, object]) -> None:
    measure = _ACCURACY if _labelled(panel) else _SQNR
    slots = _slots(panel)
    low, high = _limits(panel, measure)
    if measure is _ACCURACY:
        style.percent_scale(ax)
    bottom = _below(ax, low, high)
    ax.set_title(panel.title, pad=16)
    ax.set_xlim(-0.5, len(slots) - 0.5)
    ax.set_ylim(bottom, high)
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.minorticks_off()
    ax.grid(axis="y")
    ax.axhspan(bottom, low, color="#faf3ef", zorder=0)
    _bands(ax, slots)
    for engine in panel.engines:
        rows = [(x, row) for x, row in _places(panel, slots) if row["engine"] == engine]
        _lines(ax, rows, measure, colours[engine])
        for x, row in rows:
            if row["evaluate_state"] == "ok":
                # Of more than two in a slot, every other one's text is a line further away.
                sharing = _sharing(panel, row)
                raised = len(sharing) > 2 and sharing.index(engine) % 2
                further = _LINE_POINTS * raised
                _point(ax, x, row, measure, colours[engine], (low, high), further)
            else:
                _failure(ax, x, row, colours[engine], low)
    evaluated = panel.rows.dropna(subset=["images"])
    references = evaluated.dropna(subset=["reference_top1_accuracy"])
    if len(references):
        first = references.iloc[0]
        accuracy = first["reference_top1_accuracy"]
        style.reference_level(ax, 100 * accuracy, "PyTorch")
        bounds = wilson_interval(accuracy, first["images"])
        ax.axhspan(*(100 * bound for bound in bounds), color=_BAND, zorder=0)
    if (level := _constants_level(panel, measure)) is not None:
        style.reference_level(ax, level, "constant")
    over = f", {evaluated['images'].iloc[0]} images" if len(evaluated) else ""
    ax.set_ylabel(measure.label.format(images=over))


def _draw_differences(ax: Axes, panel: Panel, colours: Mapping[str, object]) -> None:
    """Draw what accuracy differs from float32's by, in points."""
    slots = _slots(panel)
    ax.set_yscale("symlog", linthresh=1, linscale=0.8)
    ax.set_xlim(-0.5, len(slots) - 0.5)
    ends = [-1.0, 1.0]
    for x, row in _places(panel, slots):
        if pd.isna(row["accuracy_difference"]):
            continue
        value, low, high = (100 * row[f"accuracy_difference{end}"] for end in ("", "_low", "_high"))
        ends += [low, high]
        ax.vlines(x, low, high, color=style.INK, linewidth=0.9, zorder=3)
        _marked(ax, x, value, row, colours[row["engine"]])
        if row["accuracy_difference_p"] < CHANCE:
            ax.annotate("*", (x, value), (4, -2), textcoords="offset points")
    ax.set_yticks(_POINT_TICKS, [f"{tick}".replace("-", "−") for tick in _POINT_TICKS])
    ax.minorticks_off()
    ax.set_ylim(1.6 * min(ends), 1.6 * max(ends))
    ax.grid(axis="y")
    _part(ax, slots)
    style.reference_level(ax, 0, "PyTorch")
    images = panel.rows["images"].dropna()
    if len(images):
        unchanged = difference_interval(0, 0, images.iloc[0])
        ax.axhspan(*(100 * end for end in unchanged), color=_BAND, zorder=0)
    ax.set_ylabel("difference\n(points)")


def _below(ax: Axes, low: float, high: float) -> float:
    """Return where the axes have to begin to leave `_STRIP` of them below the scale's low end."""
    scale = ax.yaxis.get_transform()
    bottom, top = scale.transform([low, high])
    return scale.inverted().transform([bottom - (top - bottom) * _STRIP / (1 - _STRIP)])[0]


def _name_slots(ax: Axes, slots: list[Slot]) -> None:
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
    for _, row in panel.rows.iterrows():
        slot = (int(row["weight_bits"]), int(row["activation_bits"]), row["precision"])
        engines = _sharing(panel, row)
        count = len(engines)
        apart = _APART if count <= 2 else _FAR_APART
        step = engines.index(row["engine"]) - (count - 1) / 2
        yield slots.index(slot) + 2 * apart * step / max(count - 1, 1), row


def _sharing(panel: Panel, row: pd.Series) -> list[str]:
    """Return the engines that have a row's precision, in the panel's order."""
    having = set(panel.rows.loc[panel.rows["precision"] == row["precision"], "engine"])
    return [engine for engine in panel.engines if engine in having]


def _limits(panel: Panel, measure: _Measure) -> tuple[float, float]:
    """Return the scale's ends; float32's SQNR, far above all others, is not to set them."""
    if measure is _ACCURACY:
        return 0, 101.5
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
    """Head the slots of each number of bits of the weights."""
    widths = [weights for weights, *_ in slots]
    for bits in dict.fromkeys(widths):
        first, count = widths.index(bits), widths.count(bits)
        middle = first + (count - 1) / 2
        ax.annotate(
            f"{bits} bit{'s' * (bits > 1)}" if bits else "mixed",
            (middle, 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            color=style.GREY,
        )
    _part(ax, slots)


def _part(ax: Axes, slots: list[Slot]) -> None:
    """Set the slots of each number of bits of the weights apart."""
    for place, (before, after) in enumerate(itertools.pairwise(slots)):
        if before[0] != after[0]:
            ax.axvline(place + 0.5, color=style.GREY, linewidth=0.6, zorder=0)


def _lines(ax: Axes, rows, measure: _Measure, colour) -> None:
    """Join the quantized experiments of one engine that share the bits of their activations."""
    series: dict[int, list[tuple[float, float]]] = {}
    for x, row in sorted(rows, key=lambda placed: placed[0]):
        if _MIXED < row["weight_bits"] < 32 and row[measure.column] is not pd.NA:
            value = row[measure.column] * measure.factor
            series.setdefault(row["activation_bits"], []).append((x, value))
    for points in series.values():
        ax.plot(*np.transpose(points), color=colour, linewidth=0.9, alpha=0.5, zorder=2)


def _point(
    ax: Axes, x: float, row: pd.Series, measure: _Measure, colour, limits, further: float
) -> None:
    low, high = limits
    share = row[measure.column]
    if share is pd.NA:  # no error, or not a number
        value, told = high, "exact" if row["exact"] else "not finite"
    else:
        value = share * measure.factor
        told = format(value, measure.form).replace("-", "−")
    beyond = value >= high or share is pd.NA
    y = top = high - 0.04 * (high - low) if beyond else value
    if measure is _ACCURACY and not beyond:
        bottom, top = (100 * row[f"top1_accuracy_{end}"] for end in ("low", "high"))
        ax.vlines(x, bottom, top, color=style.INK, linewidth=0.9, zorder=3)
    _marked(ax, x, y, row, colour)
    ax.annotate(
        told,
        (x, y if beyond else top),
        (0, -7 - further if beyond else (3 if top > y else 7) + further),
        textcoords="offset points",
        ha="center",
        va="top" if beyond else "bottom",
        fontsize=5.5 if len(told) > 4 else 6.3,
        zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8},
    )


def _marked(ax: Axes, x: float, y: float, row: pd.Series, colour) -> None:
    degenerate = row["degenerate"] is not pd.NA and bool(row["degenerate"])
    ax.plot(
        x,
        y,
        _marker(row["activation_bits"]),
        markersize=8 if row["activation_bits"] == 32 else 5.5,
        color=colour,
        markerfacecolor="white" if degenerate else colour,
        zorder=4,
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
