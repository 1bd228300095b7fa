"""The product of depthwise convolutions of float32."""

from itertools import product

import tvm
from tvm.tirx.script import builder as T

from . import windows
from .accumulators import Accumulators
from .dot import vector_registers
from .geometry import Conv2D
from .lanes import load
from .packing import LANES, packed_float_shape
from .staging import Staged, flat
from .tiling import Place, Tile, candidates, cores, tasks

# what surrounds a row of the image, a sum and a tile, in instructions
_ROW, _SUM, _TILE = 6, 6, 40
# the multiply-adds of a tile's code, which has no loops
_MOST_CODE = 512


class DepthwiseFloats:
    """A multiplication and an addition of 16 channels, each with an activation of its own.

    An activation is read once for all windows of the tile that it lies in.
    """

    accumulator = "float32"
    unpacks = False

    def __init__(self, target: tvm.target.Target) -> None:
        self._target = target

    def tiles(self, conv: Conv2D) -> list[Tile]:
        share = cores(self._target)
        registers = vector_registers(self._target)
        tiles = [
            tile
            for tile in candidates(conv, registers)
            if len(tile.pixels) == 1 or len(tile.pixels) * conv.taps <= _MOST_CODE
        ]
        return sorted(tiles, key=lambda tile: -(-tasks(conv, tile) // share) * _cycles(conv, tile))

    def declare(self, conv: Conv2D) -> None:
        shape = packed_float_shape(conv.weight_shape, conv.groups)
        self._x = T.arg("x", T.buffer(conv.input_shape, "float32"))
        self._weight = T.arg("weight", T.buffer(shape, "float32"))

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
        self._weights = flat(self._weight)
        staged, self._view = windows.view(self._x, conv, 0)
        return staged

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        seen = windows.Windows(self._view, staged, place, sums.tile)
        columns = windows.columns(conv, sums.tile)
        across = {at: seen.column(at) for at in columns}
        first = T.Bind(place.block * conv.taps)
        sums.start()

        def add_row(base: tvm.ir.Expr, readers: list[tuple[int, int]]) -> None:
            """Add the products of a row of the image."""
            for column, pixels in columns.items():
                offset, inside = across[column]
                value = load(staged.data, base + offset, LANES)
                if inside is not None:
                    zero = T.broadcast(T.float32(0), LANES)
                    value = T.Select(T.broadcast(inside, LANES), value, zero)
                value = T.Bind(value)
                for (at, tap), (row, down) in product(pixels, readers):
                    number = first + down * conv.kernel[1] + tap
                    w = load(self._weights, number * LANES, LANES)
                    pixel = row * sums.tile.columns + at
                    # LLVM makes one instruction of the two where the target has it
                    sums.update(pixel, 0, lambda acc, x=value, w=w: acc + x * w)

        for down, readers in windows.rows(conv, sums.tile).items():
            base, inside = seen.row(down)
            if inside is None:
                add_row(base, readers)
            else:
                with T.If(inside), T.Then():
                    add_row(base, readers)


def _cycles(conv: Conv2D, tile: Tile) -> float:
    """About what a tile takes, in instructions."""
    rows, columns = len(windows.rows(conv, tile)), len(windows.columns(conv, tile))
    sums = len(tile.pixels)
    return rows * (columns + _ROW) + conv.taps * sums + sums * _SUM + _TILE
