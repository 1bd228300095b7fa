"""Outcomes: how far each experiment got, and which part of TVM stopped it."""

import textwrap

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bitsweep.outcome import KEYS, STAGES
from bitsweep.plots import style
from bitsweep.plots.style import Panel
from bitsweep.tables import check, failures, place

Reasons = dict[tuple[str, ...], list[str]]  # a failure's lines by experiment and stage

_COLOURS = {"ok": "#cfe3f3", "failed": "#f9c9a3", "skipped": "#f1f1f1"}
_DEGENERATE = "#f7e9a8"
# What precisions share: one cell.
_SHARED = {"trace", "import", "calibrate", "costs", "time_layers", "frontier"}
# In inches: all is laid out in them, so that the wrapped reasons fit whatever the sweep's size.
_LABELS, _NARROW, _WIDE = 1.15, 0.78, 2.3
_LINE, _PADDING, _TITLE, _LEGEND = 0.118, 0.075, 0.62, 0.42
_CHARACTERS = 40  # of 6.5 pt monospace in a wide cell
_LINES = 6  # of a reason's check before it is cut short


@style.styled
def draw(summary: pd.DataFrame) -> Figure:
    """Return the plot: a grid of precisions and stages per model and engine."""
    reasons = {
        _key(row, row["stage"]): _reason(row.dropna()) for _, row in failures(summary).iterrows()
    }
    found = style.panels(summary, by=("model", "engine", "target"))
    failing = {key[-1] for key in reasons}
    stages = [stage for stage in STAGES if summary[f"{stage}_state"].notna().any()]
    widths = [_WIDE if stage in failing else _NARROW for stage in stages]
    edges = [_LABELS + sum(widths[:i]) for i in range(len(stages) + 1)]
    heights = [_heights(panel, reasons) for panel in found]
    width, height = edges[-1] + 0.15, sum(sum(h) + _TITLE for h in heights) + _LEGEND
    drawing = Figure((width, height), dpi=200)
    ax = drawing.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    top = 0.0
    for panel, own in zip(found, heights, strict=True):
        columns = list(zip(stages, edges, edges[1:], strict=False))
        _draw_panel(ax, panel, reasons, columns, own, top)
        top += sum(own) + _TITLE
    handles = [
        Patch(facecolor=colour, edgecolor=style.GREY, linewidth=0.5, label=state)
        for state, colour in {**_COLOURS, "ok, but degenerate": _DEGENERATE}.items()
    ]
    drawing.legend(handles=handles, loc="lower center", ncols=4)
    return drawing


def _reason(row: pd.Series) -> list[str]:
    """Return a failure as the lines of its cell: place, source, the check or the message."""
    source = place(None, row.get("file"), row.get("line"))
    told = check(row["message"]).removeprefix("Check failed:").strip()
    if row["kind"] != "exception":
        told = f"{row['kind']}: {told}"
    lines = [*_wrap(row.get("function", row["type"])), *_wrap(source)]
    wrapped = _wrap(told)
    if len(wrapped) > _LINES:
        wrapped = [*wrapped[: _LINES - 1], wrapped[_LINES - 1][: _CHARACTERS - 1] + "…"]
    return [*lines, *wrapped]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _CHARACTERS)


def _heights(panel: Panel, reasons: Reasons) -> list[float]:
    """Return the height of each precision's row in inches, enough for what its cells say."""
    lines = [2] * len(panel.precisions)
    shared = 0
    for slot, row in panel.slots():
        for stage in STAGES:
            needed = 1 + len(reasons.get(_key(row, stage), []))
            if stage in _SHARED:
                shared = max(shared, needed)
            else:
                lines[int(slot)] = max(lines[int(slot)], needed)
    lines[-1] += max(0, shared - sum(lines))
    return [count * _LINE + 2 * _PADDING for count in lines]


def _draw_panel(
    ax: Axes,
    panel: Panel,
    reasons: Reasons,
    columns: list[tuple[str, float, float]],
    heights: list[float],
    top: float,
) -> None:
    """Draw a panel; `columns` are stages with their left and right ends in inches."""
    ax.text(0.12, top + 0.2, panel.title, fontsize=9.5, fontweight="bold", va="center")
    for stage, left, right in columns:
        ax.text((left + right) / 2, top + _TITLE - 0.1, stage, ha="center", va="center")
    tops = [top + _TITLE + sum(heights[:i]) for i in range(len(heights) + 1)]
    shown = set()
    for slot, row in panel.slots():
        upper, lower = tops[int(slot)], tops[int(slot) + 1]
        ax.text(_LABELS - 0.1, (upper + lower) / 2, row["precision"], ha="right", va="center")
        for stage, left, right in columns:
            if pd.isna(row[f"{stage}_state"]):
                continue
            if stage not in _SHARED:
                _cell(ax, (left, upper, right, lower), row, stage, reasons)
            elif stage not in shown:
                shown.add(stage)
                _cell(ax, (left, tops[0], right, tops[-1]), row, stage, reasons)


def _cell(
    ax: Axes,
    box: tuple[float, float, float, float],
    row: pd.Series,
    stage: str,
    reasons: Reasons,
) -> None:
    """Draw one cell; `box` is its left, top, right and bottom in inches."""
    left, top, right, bottom = box
    state = row[f"{stage}_state"]
    degenerate = stage == "evaluate" and row["degenerate"] is not pd.NA and row["degenerate"]
    ax.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            facecolor=_DEGENERATE if degenerate else _COLOURS[state],
            edgecolor="white",
            linewidth=1.5,
        )
    )
    middle = (top + bottom) / 2
    if state == "failed":
        reason = reasons[_key(row, stage)]
        start = middle - (len(reason) + 1) * _LINE / 2
        ax.text(left + _PADDING, start, f"✕ failed@{stage}", va="top", fontsize=7.5, weight="bold")
        for number, line in enumerate(reason, start=1):
            y = start + number * _LINE + 0.02
            ax.text(left + _PADDING, y, line, va="top", fontsize=6.3, family="DejaVu Sans Mono")
        return
    text = "skipped" if state == "skipped" else f"ok\n{_duration(row[f'{stage}_seconds'])}"
    if degenerate:
        text = "ok, but\ndegenerate"
    colour = style.GREY if state == "skipped" else style.INK
    ax.text((left + right) / 2, middle, text, ha="center", va="center", fontsize=7, color=colour)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _key(row: pd.Series, stage: str) -> tuple[str, ...]:
    return (*(row[key] for key in KEYS), stage)
