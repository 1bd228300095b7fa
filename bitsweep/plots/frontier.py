"""The frontier: accuracy against bytes, and against latency, of every plan that was tried."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import offset_copy

from bitsweep.plots import style

_BLUE, _ORANGE = seaborn.color_palette("colorblind", 2)
_HEIGHT_INCHES, _LINE_INCHES, _LETTER_INCHES = 3.1, 0.135, 0.025
_TEST_POINTS = 7  # by which a plan on the test images is beside itself
_SLOPE = 30  # of the names of searches, in degrees
_APART = 0.09  # these are from each other, of the width


@style.styled
def draw(plans: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Return the plot of plans (`bitsweep.answer.plans`): a row of panels per network and target.

    Height is top-1 accuracy on the selection images, agreement with float32 where there are no
    labels. Left, against bytes; right, against latency, where layers were timed. The summary has
    the chosen plans' figures on the test images, and what failed.
    """
    searched = summary[summary["search_state"].notna()]
    groups = list(searched.groupby(["model", "target"], sort=False))
    timed = plans["latency_ms"].notna().any()
    names = max(map(len, plans["chosen_by"].dropna()), default=0) * _LETTER_INCHES
    heights = [
        _HEIGHT_INCHES + names + _LINE_INCHES * len(_failed(summary, network))
        for network, _ in groups
    ]
    drawing = Figure((7.6, sum(heights) + 0.75), dpi=200, layout="constrained")
    drawing.get_layout_engine().set(w_pad=0.08, h_pad=0.06, hspace=0.03, wspace=0.03)
    grid = drawing.add_gridspec(len(groups), 1 + timed, height_ratios=heights)
    for line, (network, rows) in enumerate(groups):
        own = plans[(plans["model"] == network[0]) & (plans["target"] == network[1])]
        quantities = ["bytes"] + ["latency_ms"] * bool(own["latency_ms"].notna().any())
        for column, quantity in enumerate(quantities):
            ax = drawing.add_subplot(grid[line, column if len(quantities) > 1 else slice(None)])
            if column == 0:
                title = style.model_title(rows.iloc[0])
                several = searched["target"].nunique() > 1
                ax.set_title(f"{title}, {network[1]}" if several else title, pad=8 + 72 * names)
            _draw_panel(ax, own, rows, quantity, _failed(summary, network) if not column else [])
    drawing.legend(handles=_entries(), loc="outside lower center", ncols=3)
    return drawing


def _failed(summary: pd.DataFrame, network: tuple[str, str]) -> list[str]:
    """Return what has no place in the plot: the network's experiments in Relax that failed."""
    model, target = network
    rows = summary[
        (summary["model"] == model)
        & (summary["target"] == target)
        & (summary["engine"] == "relax")
        & (summary["state"] == "failed")
    ]
    return [f"✕  {row['precision']} failed@{row['failed_stage']}" for _, row in rows.iterrows()]


def _draw_panel(
    ax: Axes, plans: pd.DataFrame, searches: pd.DataFrame, quantity: str, failed: Sequence[str]
) -> None:
    labelled = bool(plans["top1_accuracy"].notna().any())
    share = "top1_accuracy" if labelled else "top1_agreement"
    _tell(ax, failed, bool(len(plans)))
    if plans.empty:
        return
    places, unit = _places(plans[quantity], quantity)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(f"{'bytes of the layers' if quantity == 'bytes' else 'latency'} ({unit})")
    ax.grid(axis="both")
    seaborn.despine(ax=ax)
    heights = 100 * plans[share].astype(float)
    mixed = (plans["kind"] == "mixed").to_numpy()
    _draw_frontier(ax, places[mixed], heights[mixed])
    ax.plot(places[~mixed], heights[~mixed], "s", color=_ORANGE, markersize=5, zorder=4)
    _name_widths(ax, places[~mixed], heights[~mixed], plans[~mixed])
    style.percent_scale(ax)
    lowest = min(heights.min(), *_test_ends(searches, share))
    ax.set_ylim(*_ends(lowest))
    ax.set_yticks([tick for tick in ax.get_yticks() if tick >= _ends(lowest)[0]])
    ax.minorticks_off()
    ax.margins(x=0.1)
    if labelled:
        level = 100 * plans["reference_top1_accuracy"].iloc[0]
        style.reference_level(ax, level, "float32")
    if quantity == "bytes":
        what = "top-1 accuracy" if labelled else "agreement with float32"
        ax.set_ylabel(f"{what} (%)\n{plans['images'].iloc[0]} selection images")
    _draw_chosen(ax, plans, places, heights, searches, share)


def _tell(ax: Axes, failed: Sequence[str], drawn: bool) -> None:
    """Write what failed below the axes, in the place of the plot where there is none."""
    if not drawn:
        ax.set_xticks([])
        ax.set_yticks([])
        seaborn.despine(ax=ax, left=True, bottom=True)
    if failed:
        ax.annotate(
            "\n".join(failed),
            (0, 0 if drawn else 1),
            (0, -32 if drawn else -4),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            fontsize=7,
            color=style.FAILED,
        )


def _places(amounts: pd.Series, quantity: str) -> tuple[np.ndarray, str]:
    """Return amounts in a unit, and the unit."""
    values = amounts.astype(float).to_numpy()
    if quantity == "latency_ms":
        return values, "ms"
    return (values / 1e6, "MB") if values.max() >= 1e6 else (values / 1e3, "kB")


def _draw_frontier(ax: Axes, places: np.ndarray, heights: pd.Series) -> None:
    """Draw the mixed plans, and a line through those that none is better than in both."""
    ax.plot(places, heights, "o", color=_BLUE, markersize=2.8, alpha=0.6, zorder=3)
    order = np.lexsort((-heights.to_numpy(), places))
    best, line = -math.inf, []
    for index in order:
        if heights.iloc[index] > best:
            best = heights.iloc[index]
            line.append((places[index], best))
    if line:
        ax.plot(
            *np.transpose([*line, (places.max(), best)]),
            color=_BLUE,
            drawstyle="steps-post",
            linewidth=1.3,
            zorder=2,
        )


def _draw_chosen(ax, plans, places, heights, searches, share) -> None:
    """Ring what each search chose, name it, and set its figure on the test images beside it."""
    taken = -math.inf
    low, high = np.log(ax.get_xlim())
    for place, height, (_, row) in sorted(
        zip(places, heights, plans.iterrows(), strict=True), key=lambda drawn: drawn[0]
    ):
        if pd.isna(row["chosen_by"]):
            continue
        ax.plot(place, height, "o", markersize=9, markerfacecolor="none", color=style.INK, zorder=5)
        of_test = searches[searches["precision"].isin(row["chosen_by"].split(", "))]
        for _, searched in of_test.dropna(subset=[share]).iloc[:1].iterrows():
            _draw_test(ax, place, searched, share)
        taken = max((np.log(place) - low) / (high - low), taken + _APART)
        ax.annotate(
            row["chosen_by"],
            (place, height),
            (taken, 1.01),
            textcoords="axes fraction",
            rotation=_SLOPE,
            rotation_mode="anchor",
            fontsize=7,
            arrowprops={
                "arrowstyle": "-",
                "color": style.GREY,
                "linewidth": 0.6,
                "relpos": (0, 0),
                "shrinkA": 1,
                "shrinkB": 5,
            },
        )


def _draw_test(ax: Axes, place: float, row: pd.Series, share: str) -> None:
    """Draw a plan's figure on the test images, and float32's."""
    beside = offset_copy(ax.transData, ax.figure, _TEST_POINTS, units="points")
    value, low, high = (100 * row[f"{share}{end}"] for end in ("", "_low", "_high"))
    ax.vlines(place, low, high, color=style.INK, linewidth=1, zorder=5, transform=beside)
    ax.plot(
        place,
        value,
        "D",
        markersize=4,
        color=style.INK,
        markerfacecolor="white",
        transform=beside,
        zorder=6,
    )
    if not pd.isna(row["reference_top1_accuracy"]):
        level = 100 * row["reference_top1_accuracy"]
        ax.plot(place, level, "_", markersize=9, color=style.GREY, transform=beside, zorder=5)


def _test_ends(searches: pd.DataFrame, share: str) -> list[float]:
    return [100.0, *(100 * searches[f"{share}_low"].dropna().astype(float))]


def _ends(lowest: float) -> tuple[float, float]:
    """Return the ends of the scale, with room for what is written below and above."""
    floor = 100 - 1.15 * (100 - lowest + 2)
    return floor, 100 + 0.015 * (100 - floor)


def _name_widths(ax: Axes, places: np.ndarray, heights: pd.Series, uniform: pd.DataFrame) -> None:
    """Name the uniform widths: in bits, or where the inputs have other than 8 like `w4a4`.

    Widths in one place, as of 3 and 4 bits that are packed alike, have one name.
    """
    names: dict[tuple, list[int]] = {}
    for place, height, (_, row) in zip(places, heights, uniform.iterrows(), strict=True):
        names.setdefault((place, height, int(row["input_bits"])), []).append(row["uniform_bits"])
    for (place, height, inputs), widths in names.items():
        if inputs == 8:
            told = ", ".join(map(str, widths)) + (" bit" if widths == [1] else " bits")
        else:
            told = ", ".join(f"w{bits}a{inputs}" for bits in widths)
        ax.annotate(
            told,
            (place, height),
            (0 if inputs == 8 else 5, -8),
            textcoords="offset points",
            fontsize=6.5,
            color=style.GREY,
            ha="center" if inputs == 8 else "left",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.2, "alpha": 0.7},
        )


def _entries() -> list[Line2D]:
    def entry(label, marker, **look):
        return Line2D([], [], linestyle="", marker=marker, label=label, **look)

    return [
        entry("all layers at one width", "s", color=_ORANGE, markersize=5),
        Line2D(
            [], [], color=_BLUE, marker="o", markersize=2.8, label="mixed, and the best of them"
        ),
        entry("chosen by a search", "o", color=style.INK, markersize=9, markerfacecolor="none"),
        entry(
            "on the test images, with 95% interval",
            "D",
            color=style.INK,
            markersize=4,
            markerfacecolor="white",
        ),
        entry("float32 on the test images", "_", color=style.GREY, markersize=9),
    ]
