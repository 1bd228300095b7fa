"""Roofline: what layers do a second, by how much they do with a byte, under the measured roofs."""

import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bitsweep.outcome import KEYS
from bitsweep.plots import style
from bitsweep.plots.profile import profiled
from bitsweep.profile.operators import LAYERS

_ROOFS = {
    "float": "floats (FMA)",
    "bfloat16": "bfloat16 (AVX512-BF16)",
    "integer": "bytes (VNNI)",
    "bits": "bits (popcount)",
}
_AREAS = (8, 120)  # of markers, points²
_AREA_OF_ALL = 500  # of a layer that takes all the time
_MARKERS = "os^vDPX"
_MIXED = "mixed"


@style.styled
def draw(layers: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Return the plot of a table of operators: a panel per model and engine, a marker per layer.

    Across, products with accumulation by bytes; upwards, 10^9 products a second. Of layers that
    count bits, products are of bits. The colour tells the bits of the experiment's weights, the
    marker those of its activations, and the area the layer's share of its network's time.
    """
    summary = profiled(summary, layers)
    found = style.panels(summary, by=("model", "target", "engine"))
    bits = summary[[*KEYS, "weight_bits", "activation_bits"]]
    known = layers[layers["kind"].isin(LAYERS)].dropna(subset=["gigaproducts_per_second"])
    known = known.merge(bits, on=list(KEYS))
    weights, activations = (_bits(known[f"{name}_bits"]) for name in ("weight", "activation"))
    known = known.assign(weights=weights, activations=activations)
    palette = seaborn.color_palette("colorblind")
    colours = dict(zip(_descending(weights), palette, strict=False))
    markers = dict(zip(_descending(activations), _MARKERS, strict=False))
    columns = min(len(found), 2)
    lines = -(-len(found) // columns)
    drawing = Figure((4.6 * columns, 3.1 * lines + 0.6), dpi=200, layout="constrained")
    for index, panel in enumerate(found):
        ax = drawing.add_subplot(lines, columns, index + 1)
        ax.set_title(panel.title)
        own = known.merge(panel.rows[list(KEYS)], on=list(KEYS))
        _draw_panel(ax, own, colours, markers)
    entries = [
        Line2D([], [], color=style.GREY, marker=marker, linestyle="", label=f"activations: {name}")
        for name, marker in markers.items()
    ]
    named = {f"weights: {name}": colour for name, colour in colours.items()}
    style.legend(drawing, named, entries)
    return drawing


def _bits(column: pd.Series) -> pd.Series:
    return column.map(lambda bits: _MIXED if bits is pd.NA else f"{bits} bits")


def _descending(names: pd.Series) -> list[str]:
    numbers = [int(name.split()[0]) for name in set(names) - {_MIXED}]
    mixed = [_MIXED] if _MIXED in set(names) else []
    return [f"{bits} bits" for bits in sorted(numbers, reverse=True)] + mixed


def _draw_panel(ax: Axes, own: pd.DataFrame, colours: dict, markers: dict) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.grid(which="major")
    seaborn.despine(ax=ax)
    ax.set_xlabel("products per byte read or written")
    ax.set_ylabel("10⁹ products a second")
    if own.empty:
        return
    intensity = (own["gigaproducts_per_second"] / own["gigabytes_per_second"]).astype(float)
    for (weights, activations), group in own.groupby(["weights", "activations"], sort=False):
        ax.scatter(
            intensity[group.index],
            group["gigaproducts_per_second"].astype(float),
            s=np.clip(_AREA_OF_ALL * group["share"].astype(float), *_AREAS),
            color=colours[weights],
            marker=markers[activations],
            alpha=0.7,
            linewidths=0,
            zorder=3,
        )
    ends = np.array([intensity.min() / 1.5, intensity.max() * 1.5])
    ax.set_xlim(ends)
    roofs = own.dropna(subset=["peak_gigaproducts_per_second"])
    peaks = dict(zip(roofs["arithmetic"], roofs["peak_gigaproducts_per_second"], strict=True))
    for arithmetic, peak in peaks.items():
        _draw_roof(ax, peak, _ROOFS[arithmetic])
    bandwidths = own["peak_gigabytes_per_second"].dropna()
    if len(bandwidths):
        ax.plot(ends, ends * bandwidths.iloc[0], color=style.GREY, linewidth=1, zorder=1)
    rates = own["gigaproducts_per_second"].astype(float)
    ax.set_ylim(rates.min() / 2, 2.2 * max([rates.max(), *peaks.values()]))


def _draw_roof(ax: Axes, peak: float, what: str) -> None:
    ax.axhline(peak, color=style.GREY, linewidth=1, zorder=1)
    ax.annotate(
        what,
        (0, peak),
        (3, 2),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        fontsize=7,
        color=style.GREY,
    )
