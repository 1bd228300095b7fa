"""Profile: where the time of a run goes, by kind of operator."""

import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bitsweep.outcome import KEYS
from bitsweep.plots import style
from bitsweep.profile.operators import KINDS, LAYERS

_BLUE, _ORANGE, _GREEN, _RED, _, _, _PINK, _, _YELLOW, _SKY = seaborn.color_palette("colorblind")
_COLOURS = {
    "convolution": _BLUE,
    "dense": _SKY,
    "conversion": _RED,
    "layout": _ORANGE,
    "pool": _GREEN,
    "elementwise": _YELLOW,
    "other": _PINK,
}


@style.styled
def draw(layers: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Return the plot of a table of operators: a panel per model and engine, a bar per experiment.

    Bars are stacked by kind, and a line stands at a run without a clock in it.
    """
    found = style.panels(profiled(summary, layers), by=("model", "target", "engine"))
    own = {key: group for key, group in layers.groupby(list(KEYS), sort=False)}
    drawing, axes = style.figure(found, width=6.4)
    for panel, (ax,) in zip(found, axes, strict=True):
        style.beside_titles(ax, "a run", "in layers")
        for slot, row in panel.slots():
            operators = own[tuple(row[key] for key in KEYS)]
            first = operators.iloc[0]
            if first["state"] != "ok":
                style.cross(ax, slot, f"failed@{first['failed_stage'] or 'profile'}")
                continue
            _stack(ax, slot, panel.bar, operators)
            whole = first["whole_ms"]
            ax.vlines(whole, slot - 0.46, slot + 0.46, color=style.INK, linewidth=1.3, zorder=3)
            layers_share = operators.loc[operators["kind"].isin(LAYERS), "share"].sum()
            figure = f"{whole:#.3g}".rstrip(".") + " ms"
            style.beside(ax, slot, figure, f"{layers_share:.0%}")
        style.scale_from_zero(ax, panel.rows["latency_median_ms"])
        ax.set_xlabel("time of operators in a run (ms)")
    present = set(layers["kind"].dropna())
    line = Line2D([], [], color=style.INK, linewidth=1.3, label="a run, without a clock in it")
    kinds = {kind: _COLOURS[kind] for kind in KINDS if kind in present}
    style.legend(drawing, kinds, [line])
    return drawing


def profiled(summary: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a summary whose experiments a table of operators has.

    Not every engine has a profile.
    """
    keys = set(layers[list(KEYS)].itertuples(index=False, name=None))
    rows = summary[list(KEYS)].itertuples(index=False, name=None)
    return summary[[key in keys for key in rows]]


def _stack(ax: Axes, slot: float, height: float, operators: pd.DataFrame) -> None:
    left = 0.0
    for kind in KINDS:
        taken = operators.loc[operators["kind"] == kind, "milliseconds"].sum()
        if taken > 0:
            ax.barh(slot, taken, height, left, color=_COLOURS[kind], zorder=2)
            left += taken
