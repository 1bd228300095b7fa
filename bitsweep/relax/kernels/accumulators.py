"""The sums of a tile, which stay in registers while its products are added."""

from collections.abc import Callable, Sequence
from typing import Protocol

import tvm
from tvm.tirx.script import builder as T

from .geometry import Conv2D
from .lanes import LINE, Lanes, load, on_stack, prefetch, store
from .packing import LANES
from .staging import Beside
from .tiling import MAX_PIXELS, Place, Tile

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
    """A vector of 16 channels for each pixel and block of a tile.

    Attributes:
        beside: what is to be done between the steps of their products.
    """

    def __init__(
        self, tile: Tile, dtype: str, biases: tvm.tirx.Buffer, channel: tvm.ir.Expr
    ) -> None:
        """Take the biases of the tile's blocks from `channel` on."""
        self.tile = tile
        self.beside: Sequence[Beside] = ()
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
                for byte in range(0, self.tile.blocks * LANES, LINE):
                    prefetch(buffer, at + byte, level=1, write=buffer is buffers[-1])

    def finish(self, conv: Conv2D, place: Place, output: Output, out: tvm.tirx.Buffer) -> None:
        """Let `output` write them to the tile's place in the flat buffer `out`."""
        pixels = len(self.tile.pixels)
        # through memory, so that the code of it is a loop; by as many blocks as the stack takes
        for begin in range(0, self.tile.blocks, MAX_PIXELS // pixels):
            count = min(MAX_PIXELS // pixels, self.tile.blocks - begin)
            spilled = on_stack(count * pixels * LANES, self._dtype)
            self.spill(spilled, range(begin, begin + count))
            with T.serial(0, count) as b:
                write = writing(conv, place, begin + b, output, out)
                with T.serial(0, self.tile.rows) as r, T.serial(0, self.tile.columns) as c:
                    at = (b * self.tile.rows + r) * self.tile.columns + c
                    write(r, c, load(spilled, at * LANES, LANES))

    def spill(self, spilled: tvm.tirx.Buffer, blocks: range) -> None:
        """Write those of some blocks to a flat buffer: block, pixel, lane."""
        vectors = [vectors[b] for b in blocks for vectors in self._vectors]
        for number, vector in enumerate(vectors):
            store(spilled, number * LANES, load(vector, 0, LANES))


def writing(
    conv: Conv2D, place: Place, block: tvm.ir.Expr | int, output: Output, out: tvm.tirx.Buffer
) -> Callable[[tvm.ir.Expr | int, tvm.ir.Expr, tvm.ir.Expr], None]:
    """Read what belongs to a block of a tile; what it returns writes the vector of a pixel, which
    is given by its row and column in the tile."""
    channels = conv.out_channels if conv.depthwise else conv.outputs_per_group
    first = T.Bind((place.image * conv.out_height + place.row) * conv.out_width + place.column)
    block = T.Bind(place.block + block)
    lanes = Lanes(channels, block)
    finish = output.channels(place.group, block, out)

    def write(row: tvm.ir.Expr | int, column: tvm.ir.Expr, vector: tvm.ir.Expr) -> None:
        pixel = T.Bind(first + row * conv.out_width + column)
        finish(vector, lanes, pixel, place.group * channels + block * LANES)

    return write
