"""What the plots share: type and colours, a panel per model, a slot per precision, the legend."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import matplotlib
import numpy as np
import pandas as pd
import seaborn
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

INK, GREY, PALE = "#222222", "#6b6b6b", "#e6e6e6"
FAILED = "#c1440e"
_DPI = 200
_COLUMNS = ((56, "right"), (66, "left"))  # beside the axes: points from them, alignment
# What an entry of a legend takes beside its letters, and a letter.
_ENTRY_INCHES, _LETTER_INCHES = 0.55, 0.06
_SLOT_INCHES = 0.26  # height of one precision of one engine
_GAP = 0.25  # between precisions, in slots
_PERCENT_TICKS = (0, 50, 80, 90, 95, 98, 100)
_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.fonttype": "none",
}
Drawn = TypeVar("Drawn", bound=Callable[..., Figure])


def styled(draw: Drawn) -> Drawn:
    """Draw in the house style, leaving Matplotlib's own settings as they were."""

    def styled_draw(*tables: pd.DataFrame) -> Figure:
        with matplotlib.rc_context({**seaborn.axes_style("ticks"), **_RC}):
            return draw(*tables)

    styled_draw.__doc__ = draw.__doc__
    return styled_draw


@dataclass(frozen=True)
class Panel:
    """The experiments that share a panel: one model (on one target), its precisions in order."""

    title: str
    rows: pd.DataFrame
    precisions: list[str]
    engines: list[str]
    bar = 0.72  # height of one bar, in slots

    def slots(self) -> Iterator[tuple[float, pd.Series]]:
        """Yield each experiment with the height of its slot, 1 apart: precisions downwards."""
        for precision, (first, _) in self.groups().items():
            of_precision = self.rows[self.rows["precision"] == precision]
            for index, (_, row) in enumerate(of_precision.iterrows()):
                yield first + index, row

    def groups(self) -> dict[str, tuple[float, float]]:
        """Return the heights of the first and the last slot of each precision, in order.

        Where there are several engines, a gap keeps what belongs to one precision together.
        """
        counts = self.rows.groupby("precision", sort=False).size()
        gap = _GAP if len(self.engines) > 1 else 0
        found, start = {}, 0.0
        for precision in self.precisions:
            found[precision] = (start, start + counts[precision] - 1)
            start += counts[precision] + gap
        return found

    @property
    def height(self) -> float:
        """Height of all slots, in slots."""
        return max(last for _, last in self.groups().values()) + 1


def panels(summary: pd.DataFrame, by: Sequence[str] = ("model", "target")) -> list[Panel]:
    """Return the summary's panels, in its order; the title says what sets them apart."""
    engines, targets = (list(summary[name].unique()) for name in ("engine", "target"))
    found = []
    for _, rows in summary.groupby(list(by), sort=False):
        first = rows.iloc[0]
        title = model_title(first)
        if "engine" in by:
            title += f", {first['engine']}"
        if len(targets) > 1:
            title += f", {first['target']}"
        own = [engine for engine in engines if engine in set(rows["engine"])]
        found.append(Panel(title, rows, _precisions(rows), own))
    return found


def _precisions(rows: pd.DataFrame) -> list[str]:
    """Return the precisions of all engines, in an order that is each engine's own."""
    merged: list[str] = []
    for _, of_engine in rows.groupby("engine", sort=False):
        at = 0
        for precision in of_engine["precision"]:
            if precision in merged:
                at = merged.index(precision) + 1
            else:
                merged.insert(at, precision)
                at += 1
    return merged


def model_title(row: pd.Series) -> str:
    """Return a model's name, which says when its weights are untrained."""
    untrained = row["trained"] is not pd.NA and not row["trained"]
    return f"{row['model']} (untrained weights)" if untrained else row["model"]


def figure(
    found: Sequence[Panel], width: float, beside: int = 1
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure and, for each panel, its `beside` axes; `width` inches is a panel's."""
    columns = 1 if len(found) <= 3 else 2
    lines = [found[i : i + columns] for i in range(0, len(found), columns)]
    heights = [max(panel.height for panel in line) + 0.6 for line in lines]
    inches = sum(heights) * _SLOT_INCHES + 0.95 * len(lines) + 0.35
    drawing = Figure((width * columns, inches), dpi=_DPI, layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.08, hspace=0.04, wspace=0.03)
    grid = drawing.add_gridspec(len(lines), columns * beside, height_ratios=heights)
    axes = []
    for index, panel in enumerate(found):
        line, column = divmod(index, columns)
        own = [drawing.add_subplot(grid[line, column * beside + i]) for i in range(beside)]
        for i, ax in enumerate(own):
            _lay_out(ax, panel, labelled=i == 0)
        own[0].set_title(panel.title, pad=8)
        axes.append(own)
    return drawing, axes


def _lay_out(ax: Axes, panel: Panel, labelled: bool) -> None:
    groups = panel.groups()
    ax.set_ylim(panel.height - 0.5, -0.5)
    middles = [(first + last) / 2 for first, last in groups.values()]
    ax.set_yticks(middles, panel.precisions if labelled else [])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    seaborn.despine(ax=ax, left=True)
    edges = itertools.pairwise(groups.values())
    for (_, last), (first, _) in edges:
        ax.axhline((last + first) / 2, color=PALE, linewidth=0.7, zorder=0)


def beside(ax: Axes, slot: float, first: str, second: str) -> None:
    """Write a slot's figures in the two columns to the right of the axes."""
    for text, (points, align) in zip((first, second), _COLUMNS, strict=True):
        ax.annotate(
            text,
            (1, slot),
            (points, 0),
            xycoords=ax.get_yaxis_transform(),
            textcoords="offset points",
            ha=align,
            va="center",
            fontsize=7.5,
        )


def beside_titles(ax: Axes, first: str, second: str) -> None:
    """Head the two columns to the right of the axes."""
    for text, (points, align) in zip((first, second), _COLUMNS, strict=True):
        ax.annotate(
            text,
            (1, 1),
            (points, 2),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=align,
            va="bottom",
            fontsize=7,
            color=GREY,
        )


def mark_missing(ax: Axes, slot: float, row: pd.Series, panel: Panel, stage: str) -> None:
    """Mark the slot of an experiment without the figures of `stage`, with what failed."""
    whose = f" ({row['engine']})" if len(panel.engines) > 1 else ""
    cross(ax, slot, f"{why_missing(row, stage)}{whose}")


def cross(ax: Axes, slot: float, why: str) -> None:
    """Mark a slot as one without figures, and say why."""
    ax.text(
        0.012,
        slot,
        f"✕  {why}",
        transform=ax.get_yaxis_transform(),
        va="center",
        fontsize=7.5,
        color=FAILED,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def scale_from_zero(ax: Axes, figures: pd.Series) -> None:
    """Begin the scale at zero, and leave it out where no experiment of the panel has a figure."""
    ax.margins(x=0.06)
    ax.set_xlim(left=0)
    if figures.isna().all():
        ax.set_xticks([])


def why_missing(row: pd.Series, stage: str) -> str:
    """Return `failed@stage` for what kept `stage` from leaving its figures."""
    if row[f"{stage}_state"] == "failed":
        return f"failed@{stage}"
    return f"failed@{row['failed_stage']}" if row["state"] == "failed" else "not measured"


def engine_colours(summary: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Return a colour-blind-safe colour by engine."""
    engines = list(summary["engine"].unique())
    return dict(zip(engines, seaborn.color_palette("colorblind", len(engines)), strict=True))


def legend(drawing: Figure, colours: Mapping[str, object], extra: Sequence[Artist] = ()) -> None:
    """Put one legend below the panels, as wide as they: colours by name, and `extra` entries."""
    named = [Patch(color=colour, label=name) for name, colour in colours.items()]
    if not (handles := [*named, *extra]):
        return
    widths = [_ENTRY_INCHES + _LETTER_INCHES * len(handle.get_label()) for handle in handles]
    fitting = (
        columns
        for columns in range(len(handles), 1, -1)
        if _width(widths, columns) <= drawing.get_figwidth()
    )
    rows = math.ceil(len(handles) / next(fitting, 1))
    columns = math.ceil(len(handles) / rows)  # of about as many entries each
    drawing.legend(handles=handles, loc="outside lower center", ncols=columns)


def _width(widths: Sequence[float], columns: int) -> float:
    """Return the width of a legend, which is filled column by column, the first ones fuller."""
    full, more = divmod(len(widths), columns)
    left = iter(widths)
    sizes = [full + (column < more) for column in range(columns)]
    return sum(max(itertools.islice(left, size)) for size in sizes)


def line_entry(label: str) -> Line2D:
    """Return the legend's entry for a dashed reference line."""
    return Line2D([], [], color=GREY, linestyle=(0, (4, 2)), linewidth=1, label=label)


def percent_scale(ax: Axes) -> None:
    """Scale percentages by the square root of their distance from 100.

    Errors of a few in a hundred are what differs, and on this scale an interval near 100% is about
    as long whatever the percentage.
    """
    ax.set_yscale("function", functions=(_by_error, _by_error_back))
    ax.set_yticks(_PERCENT_TICKS)


def _by_error(percent):
    return np.sign(np.subtract(percent, 100)) * np.sqrt(np.abs(np.subtract(percent, 100)))


def _by_error_back(place):
    return 100 + np.sign(place) * np.square(place)


def reference(ax: Axes, x: float, colour: object = GREY) -> None:
    """Draw a dashed reference line."""
    ax.axvline(x, color=colour, linestyle=(0, (4, 2)), linewidth=1, zorder=1)


def reference_level(ax: Axes, y: float, label: str) -> None:
    """Draw a dashed reference line from left to right, and say what it is."""
    ax.axhline(y, color=GREY, linestyle=(0, (4, 2)), linewidth=1, zorder=1)
    ax.annotate(
        label,
        (1, y),
        (3, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=7,
        color=GREY,
    )
