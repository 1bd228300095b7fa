"""The sums of a tile, which stay in registers while its products are added."""

from collections.abc import Callable
from typing import Protocol

import tvm
from tvm.tirx.script import builder as T

from .geometry import Conv2D
from .lanes import Lanes, load, on_stack, prefetch, store
from .packing import LANES
from .tiling import MAX_PIXELS, Place, Tile

_LINE = 64  # bytes of a line of a cache

# writes an accumulator: (accumulator, lanes, pixel of the output, channel of the first lane)
Finish = Callable[[tvm.ir.Expr, Lanes, tvm.ir.Expr, tvm.ir.Expr], None]


class Output(Protocol):
    """What becomes of a sum, in the order of its methods.

    Attributes:
        dtype: the type of an element of the output.
        is_dense: whether a line of a cache holds many blocks of channels.
    """

    dtype: str
    is_dense: bool

    def shape(self, conv: Conv2D) -> tuple[int, ...]:
        """The shape of the output."""

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments that it takes."""

    def prepare(self, groups: int, channels: int) -> None:
        """Make them readable in whole vectors of a group's channels."""

    def reads(self) -> list[tvm.tirx.Buffer]:
        """The flat buffers of bytes that it reads at the places where it writes; if it does."""

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr, out: tvm.tirx.Buffer) -> Finish:
        """Read what belongs to a block; what it returns writes the block's vectors."""


class Accumulators:
    """A vector of 16 channels for each pixel and block of a tile."""

    def __init__(
        self, tile: Tile, dtype: str, biases: tvm.tirx.Buffer, channel: tvm.ir.Expr
    ) -> None:
        """Take the biases of the tile's blocks from `channel` on."""
        self.tile = tile
        self._dtype = dtype
        self._biases = biases
        self._channel = channel
        self._vectors = [[on_stack(LANES, dtype) for _ in range(tile.blocks)] for _ in tile.pixels]

    def start(self, initial: tvm.ir.Expr | None = None) -> None:
        """Set them to a vector; to their biases without one."""
        for b in range(self.tile.blocks):
            value = self.bias(b) if initial is None else initial
            for vectors in self._vectors:
                store(vectors[b], 0, value)

    def bias(self, block: int) -> tvm.ir.Expr:
        """The biases of a block."""
        return T.Bind(load(self._biases, self._channel + block * LANES, LANES))

    def update(
        self, pixel: int, block: int, function: Callable[[tvm.ir.Expr], tvm.ir.Expr]
    ) -> None:
        """Replace a vector by a function of it."""
        vector = self._vectors[pixel][block]
        store(vector, 0, function(load(vector, 0, LANES)))

    def expect(self, conv: Conv2D, place: Place, buffers: list[tvm.tirx.Buffer]) -> None:
        """Have the tile's lines of flat buffers of bytes in the cache when the sums are made.

        They are like the output, which is the last.
        """
        channels = conv.out_channels if conv.depthwise else conv.outputs_per_group
        first = T.Bind((place.image * conv.out_height + place.row) * conv.out_width + place.column)
        channel = T.Bind(place.group * channels + place.block * LANES)
        with T.serial(0, self.tile.rows) as r, T.serial(0, self.tile.columns) as c:
            at = T.Bind((first + r * conv.out_width + c) * conv.out_channels + channel)
            for buffer in buffers:
                for byte in range(0, self.tile.blocks * LANES, _LINE):
                    prefetch(buffer, at + byte, level=1, write=buffer is buffers[-1])

    def finish(self, conv: Conv2D, place: Place, output: Output, out: tvm.tirx.Buffer) -> None:
        """Let `output` write them to the tile's place in the flat buffer `out`."""
        tile = self.tile
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
                finish = output.channels(place.group, block, out)
                with T.serial(0, tile.rows) as r, T.serial(0, tile.columns) as c:
                    vector = load(spilled, ((b * tile.rows + r) * tile.columns + c) * LANES, LANES)
                    pixel = T.Bind(first + r * conv.out_width + c)
                    finish(vector, lanes, pixel, place.group * channels + block * LANES)
