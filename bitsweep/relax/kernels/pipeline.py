"""The sums of a tile, finished while the products of the next one are made.

A core multiplies on some of its units and does all else on others, but looks no further ahead than
a tile: so the instructions of both are mixed.
"""

import tvm

from .accumulators import Accumulators, Output, writing
from .geometry import Conv2D
from .lanes import load
from .packing import LANES
from .staging import Beside
from .tiling import Place, Tile


class Pipeline:
    """What is between two tiles in a row."""

    def __init__(
        self,
        sums: tvm.tirx.Buffer,
        conv: Conv2D,
        tile: Tile,
        output: Output,
        out: tvm.tirx.Buffer,
    ) -> None:
        """Take what `finish` of `Accumulators` does, and a flat buffer for the sums of a tile."""
        self._sums = sums
        self._conv = conv
        self._tile = tile
        self._output = output
        self._out = out

    def take(self, sums: Accumulators) -> None:
        """Keep the sums of a tile."""
        sums.spill(self._sums, range(self._tile.blocks))

    def finish(self, place: Place) -> list[Beside]:
        """What writes the sums that are kept to their tile's place, by blocks."""
        return [self._finish(place, block) for block in range(self._tile.blocks)]

    def _finish(self, place: Place, block: int) -> Beside:
        pixels, columns = len(self._tile.pixels), self._tile.columns

        def start():
            write = writing(self._conv, place, block, self._output, self._out)

            def part(pixel: tvm.ir.Expr) -> None:
                row = 0 if self._tile.rows == 1 else pixel // columns
                vector = load(self._sums, (block * pixels + pixel) * LANES, LANES)
                write(row, pixel - row * columns, vector)

            return part

        return Beside(pixels, start)
