"""The rows and columns of an image that the windows of a depthwise tile lie in.

There is no padded copy: where a row or column may lie outside the image, the nearest one inside
is read instead, and the kernel is told so.
"""

from dataclasses import replace
from itertools import product

import tvm
from tvm.tirx.script import builder as T

from .geometry import Conv2D
from .packing import LANES
from .staging import Staged, flat, stage
from .tiling import Place, Tile


def view(x: tvm.tirx.Buffer, conv: Conv2D, padding_value: int) -> tuple[Staged, Conv2D]:
    """Emit what it takes to read whole vectors of channels of `x`.

    Args:
        x: (N,H,W,C).
        conv: a depthwise convolution.
        padding_value: what pads the image.

    Returns:
        A flat buffer, and the convolution of the image that it holds: `conv`, or where its channels
        are no whole vectors one of a padded copy.
    """
    if conv.in_channels % LANES == 0:
        row = conv.width * conv.in_channels
        return Staged(flat(x), conv.height * row, row, conv.in_channels, LANES), conv
    staged = stage(x, conv, multiple=LANES, padding_value=padding_value)
    padded = replace(conv, height=conv.padded_height, width=conv.padded_width, padding=(0, 0, 0, 0))
    return staged, padded


def columns(conv: Conv2D, tile: Tile) -> dict[int, list[tuple[int, int]]]:
    """By column from the first one of the first window: the columns of the tile that read it, each
    with the column of its window."""
    found = {}
    for column, across in product(range(tile.columns), range(conv.kernel[1])):
        at = column * conv.strides[1] + across * conv.dilation[1]
        found.setdefault(at, []).append((column, across))
    return dict(sorted(found.items()))


def rows(conv: Conv2D, tile: Tile) -> dict[int, list[tuple[int, int]]]:
    """The same of rows."""
    found = {}
    for row, down in product(range(tile.rows), range(conv.kernel[0])):
        at = row * conv.strides[0] + down * conv.dilation[0]
        found.setdefault(at, []).append((row, down))
    return dict(sorted(found.items()))


class Windows:
    """Where a tile reads, in the buffer and for the convolution of `view`."""

    def __init__(self, conv: Conv2D, staged: Staged, place: Place, tile: Tile) -> None:
        self._staged = staged
        top, left, _, _ = conv.padding
        self._column = T.Bind(place.column * conv.strides[1] - left)
        self._row = T.Bind(place.row * conv.strides[0] - top)
        self._first = T.Bind(place.image * staged.image + place.block * LANES)
        last = (conv.out_height - tile.rows, conv.out_width - tile.columns)
        self._rows = (-top, last[0] * conv.strides[0] - top, conv.height)
        self._columns = (-left, last[1] * conv.strides[1] - left, conv.width)

    def row(self, down: int) -> tuple[tvm.ir.Expr, tvm.ir.Expr | None]:
        """A row from the first one on.

        Returns:
            The element at the first column, and whether the row is in the image, None where it is
            in all tiles.
        """
        at, inside = _within(self._row, down, *self._rows)
        pixel = self._column * self._staged.pixel
        return T.Bind(self._first + at * self._staged.row + pixel), inside

    def column(self, across: int) -> tuple[tvm.ir.Expr | int, tvm.ir.Expr | None]:
        """The same of a column: how many elements it is from the first."""
        at, inside = _within(self._column, across, *self._columns)
        if inside is None:
            return across * self._staged.pixel, None
        return T.Bind((at - self._column) * self._staged.pixel), inside


def _within(
    first: tvm.ir.Expr, offset: int, least: int, greatest: int, extent: int
) -> tuple[tvm.ir.Expr, tvm.ir.Expr | None]:
    """`first` + `offset` clipped to 0..`extent`, and whether it was in there, None for always."""
    at, inside = first + offset, []
    if least + offset < 0:
        inside.append(first + offset >= 0)
    if greatest + offset >= extent:
        inside.append(first + offset < extent)
    if not inside:
        return at, None
    at = T.max(T.min(at, extent - 1), 0)
    return at, T.Bind(inside[0] if len(inside) == 1 else T.And(*inside))
