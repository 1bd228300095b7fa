"""What all kernels of convolutions share: arguments, staging, tiles, and where the sums go."""

from typing import Protocol

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import tiling
from .accumulators import Accumulators, Output
from .attributes import mark
from .geometry import Conv2D
from .lanes import padded
from .packing import LANES
from .staging import Staged, flat
from .tiling import Place, Tile


class Product(Protocol):
    """The inner product of a kernel, in the order of its methods.

    Attributes:
        accumulator: the type of a sum, and of the bias.
        unpacks: whether `unpack` is to be called.
    """

    accumulator: str
    unpacks: bool

    def tile(self, conv: Conv2D) -> Tile:
        """How the output is cut."""

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments (x, weight)."""

    def stage(self, conv: Conv2D) -> Staged:
        """Make the windows of x readable, and the weights."""

    def unpack(self, conv: Conv2D, place: Place, tile: Tile) -> None:
        """Unpack the weights of a tile's blocks once, for all tiles of these blocks in a row."""

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        """Emit the loops over a window, which make the sums of a tile."""


def kernel(conv: Conv2D, product: Product, output: Output, cores: int) -> tvm.tirx.PrimFunc:
    """The kernel of a convolution; a dense layer is one of a 1×1 window.

    Returns:
        A function of (x, weight, bias, what `output` declares, out).
    """
    shape = conv if conv.depthwise else conv.flattened()
    groups, channels = shape.groups, shape.outputs_per_group
    if shape.depthwise:
        groups, channels = 1, shape.out_channels
    tile = product.tile(shape)
    shares = 1
    if output.is_dense or tiling.is_of_pixels(shape):
        shares = tiling.shares_of_pixels(shape, tile, cores)
    if product.unpacks and shares == 1:
        shares = tiling.shares_of_runs(shape, tile, cores)
    run = tiling.run(shape, tile, shares) if product.unpacks else 1
    # a vector of bytes is a part of a line, which is read before it is written
    expects = output.dtype == "uint8" and not shape.depthwise

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        product.declare(conv)
        bias = T.arg("bias", T.buffer((conv.out_channels,), product.accumulator))
        output.declare(conv)
        out = flat(T.arg("out", T.buffer(output.shape(conv), output.dtype)))

        staged = product.stage(shape)
        biases, stride = padded(bias, groups, channels, 0)
        output.prepare(groups, channels)

        def write(place: Place) -> None:
            first = T.Bind(place.group * stride + place.block * LANES)
            sums = Accumulators(tile, product.accumulator, biases, first)
            if expects:
                sums.expect(shape, place, [*output.reads(), out])
            product.add(shape, staged, place, sums)
            sums.finish(shape, place, output, out)

        with T.parallel(0, tiling.tasks(shape, tile, shares) // run) as task:
            if not product.unpacks:
                write(tiling.place(shape, tile, task, shares))
            else:
                first = T.Bind(task * run)
                product.unpack(shape, tiling.place(shape, tile, first, shares), tile)
                with T.serial(0, run) as number:
                    write(tiling.place(shape, tile, first + number, shares))
    return builder.get()
