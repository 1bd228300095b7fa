"""The sums of a tile, which stay in registers while its products are added."""

from collections.abc import Callable
from typing import Protocol

import tvm
from tvm.tirx.script import builder as T

from .geometry import Conv2D
from .lanes import Lanes, load, on_stack, store
from .packing import LANES
from .tiling import MAX_PIXELS, Place, Tile

# maps (accumulator, lanes, index in the output) to the 16 values of the output
Finish = Callable[[tvm.ir.Expr, Lanes, tvm.ir.Expr], tvm.ir.Expr]


class Output(Protocol):
    """What becomes of a sum."""

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr) -> Finish: ...


class Accumulators:
    """A vector of 16 channels for each pixel and block of a tile."""

    def __init__(self, tile: Tile, dtype: str) -> None:
        self._tile = tile
        self._dtype = dtype
        self._vectors = [[on_stack(LANES, dtype) for _ in range(tile.blocks)] for _ in tile.pixels]

    def start(self, biases: tvm.tirx.Buffer, channel: tvm.ir.Expr) -> None:
        """Set them to the values from `channel` on."""
        for b in range(self._tile.blocks):
            initial = T.Bind(load(biases, channel + b * LANES, LANES))
            for vectors in self._vectors:
                store(vectors[b], 0, initial)

    def update(
        self, pixel: int, block: int, function: Callable[[tvm.ir.Expr], tvm.ir.Expr]
    ) -> None:
        """Replace a vector by a function of it."""
        vector = self._vectors[pixel][block]
        store(vector, 0, function(load(vector, 0, LANES)))

    def finish(self, conv: Conv2D, place: Place, output: Output, out: tvm.tirx.Buffer) -> None:
        """Write what `output` makes of them to the tile's place in the flat buffer `out`."""
        tile = self._tile
        pixels = len(tile.pixels)
        channels = conv.out_channels if conv.depthwise else conv.outputs_per_group
        first = T.Bind((place.image * conv.out_height + place.row) * conv.out_width + place.column)
        # through memory, so that the code of it is a loop; by as many blocks as the stack takes
        for begin in range(0, tile.blocks, MAX_PIXELS // pixels):
            count = min(MAX_PIXELS // pixels, tile.blocks - begin)
            spilled = on_stack(count * pixels * LANES, self._dtype)
            for p, vectors in enumerate(self._vectors):
                for b in range(count):
                    at = (b * pixels + p) * LANES
                    store(spilled, at, load(vectors[begin + b], 0, LANES))
            with T.serial(0, count) as b:
                block = T.Bind(place.block + begin + b)
                lanes = Lanes(channels, block)
                finish = output.channels(place.group, block)
                with T.serial(0, tile.rows) as r, T.serial(0, tile.columns) as c:
                    vector = load(spilled, ((b * tile.rows + r) * tile.columns + c) * LANES, LANES)
                    at = T.Bind(
                        (first + r * conv.out_width + c) * conv.out_channels
                        + place.group * channels
                        + block * LANES
                    )
                    lanes.store(out, at, finish(vector, lanes, at))
