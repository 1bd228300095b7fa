"""Latency by precision: the speed relative to one module for all, where there is one, with its 95%
interval, and the median; else the median alone with its interval."""

import itertools
from typing import NamedTuple

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bitsweep.plots import style

_MARKERS = "osD^vPX"  # by CPU model


class _Quantity(NamedTuple):
    """What is shown: its columns, and what the axis says."""

    median: str
    low: str
    high: str
    label: str


_RELATIVE = _Quantity(
    "speedup_vs_reference",
    "reference_speedup_low",
    "reference_speedup_high",
    "speed relative to {reference}'s float32, timed in turn (more is better)",
)
_ABSOLUTE = _Quantity(
    "latency_median_ms",
    "latency_low_ms",
    "latency_high_ms",
    "latency of one image (ms, less is better)",
)


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: a panel per model with its own scale in ms, engines in colours.

    Speeds are relative to the float32 of the engine that was timed beside all. A hollow marker was
    disturbed. Where there are several CPU models, the marker tells which; the line at an engine's
    float32 median is left out where it would be another's.
    """
    found = style.panels(summary)
    colours = style.engine_colours(summary)
    markers = _markers(summary)
    drawing, axes = style.figure(found, width=7.2)
    for panel, (ax,) in zip(found, axes, strict=True):
        of = _RELATIVE if panel.rows["speedup_vs_reference"].notna().any() else _ABSOLUTE
        style.beside_titles(ax, "median", "speed-up [95% interval]")
        for slot, row in panel.slots():
            if row["latency_median_ms"] is pd.NA:
                style.mark_missing(ax, slot, row, panel, "benchmark")
                continue
            colour = colours[row["engine"]]
            _mark(ax, slot, row, of, colour, markers[_cpu(row)])
            style.beside(ax, slot, *_figures(row))
            if of is _RELATIVE or row["precision"] != "float32":
                continue
            if _is_of_one_cpu(panel.rows, row["engine"]):
                style.reference(ax, row["latency_median_ms"], colour)
        if of is _RELATIVE:
            style.reference(ax, 1.0, style.GREY)
        style.scale_from_zero(ax, panel.rows[of.median])
        ax.set_xlabel(of.label.format(reference=_reference(summary)))
    style.legend(drawing, colours, _entries(summary, markers))
    return drawing


def _reference(summary: pd.DataFrame) -> str:
    """The engine whose float32 all were timed beside."""
    return next(iter(summary["reference"].dropna()), "")


def _mark(
    ax: Axes, slot: float, row: pd.Series, of: "_Quantity", colour: object, marker: str
) -> None:
    median, low, high = (row[column] for column in (of.median, of.low, of.high))
    if median is pd.NA:
        return
    ax.hlines(slot, 0, median, color=colour, linewidth=1.2, alpha=0.45, zorder=2)
    ax.errorbar(
        median,
        slot,
        xerr=None if low is pd.NA else [[median - low], [high - median]],
        fmt=marker,
        markersize=5,
        markerfacecolor="white" if _is_disturbed(row) else colour,
        capsize=3,
        elinewidth=1.3,
        color=colour,
        ecolor=style.INK,
        zorder=3,
    )


def _figures(row: pd.Series) -> tuple[str, str]:
    median = f"{row['latency_median_ms']:#.3g}".rstrip(".") + " ms"
    if row["speedup_vs_float32"] is pd.NA:
        return median, ""
    speedup = f"{row['speedup_vs_float32']:.2f}×"
    if row["speedup_low"] is pd.NA:
        return median, speedup
    return median, f"{speedup} [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]"


def _markers(summary: pd.DataFrame) -> dict[str, str]:
    """Return the marker of each CPU model that latencies are from."""
    measured = summary.dropna(subset=["latency_median_ms"])
    cpus = dict.fromkeys(_cpu(row) for _, row in measured.iterrows())
    return dict(zip(cpus, itertools.cycle(_MARKERS)))


def _cpu(row: pd.Series) -> str:
    return "an unnamed CPU" if row["cpu_model"] is pd.NA else row["cpu_model"]


def _is_of_one_cpu(rows: pd.DataFrame, engine: str) -> bool:
    measured = rows[(rows["engine"] == engine) & rows["latency_median_ms"].notna()]
    return measured["cpu_model"].nunique(dropna=False) == 1


def _is_disturbed(row: pd.Series) -> bool:
    return row["disturbed"] is not pd.NA and bool(row["disturbed"])


def _entries(summary: pd.DataFrame, markers: dict[str, str]) -> list[Artist]:
    """Return the entries of the legend beside those of the engines."""
    reference = _reference(summary)
    entries: list[Artist] = [
        style.line_entry(f"{reference}'s float32" if reference else "median of float32")
    ]
    if summary["disturbed"].fillna(False).any():
        entries.append(_entry("o", "white", "disturbed"))
    if len(markers) > 1:
        entries += [_entry(marker, style.GREY, cpu) for cpu, marker in markers.items()]
    return entries


def _entry(marker: str, face: str, label: str) -> Line2D:
    line = {"color": style.GREY, "linestyle": "", "markersize": 5}
    return Line2D([], [], marker=marker, markerfacecolor=face, label=label, **line)
