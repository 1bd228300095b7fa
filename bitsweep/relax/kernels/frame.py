"""What all kernels of convolutions share: arguments, staging, tiles, and where the sums go."""

from collections.abc import Sequence
from typing import Protocol

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import choice, tiling
from .accumulators import Accumulators, Output
from .attributes import mark
from .choice import Tiled
from .geometry import Conv2D
from .lanes import on_lines, padded
from .packing import LANES
from .pipeline import Pipeline
from .staging import Beside, Staged, flat
from .tiling import Place, Tile


class Product(Protocol):
    """The inner product of a kernel, in the order of its methods.

    Attributes:
        accumulator: the type of a sum, and of the bias.
        unpacks: whether `unpack` is to be called.
    """

    accumulator: str
    unpacks: bool

    def tiles(self, conv: Conv2D) -> list[Tile]:
        """How the output can be cut, in the order of the predicted cost."""

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments (x, weight)."""

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
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
    return choice.made(
        Tiled(
            f"{type(product).__name__} of {conv}",
            tuple(product.tiles(shape)),
            lambda tile: _tiled(conv, shape, product, output, cores, tile),
        )
    )


def _tiled(
    conv: Conv2D, shape: Conv2D, product: Product, output: Output, cores: int, tile: Tile
) -> tvm.tirx.PrimFunc:
    groups, channels = shape.groups, shape.outputs_per_group
    if shape.depthwise:
        groups, channels = 1, shape.out_channels
    shares = 1
    if output.is_dense or tiling.is_of_pixels(shape):
        shares = tiling.shares_of_pixels(shape, tile, cores)
    in_runs = product.unpacks or tile.pipelined
    if in_runs and shares == 1:
        shares = tiling.shares_of_runs(shape, tile, cores)
    run = tiling.run(shape, tile, shares) if in_runs else 1
    # a vector of bytes is a part of a line, which is read before it is written
    expects = output.dtype == "uint8" and not shape.depthwise

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        product.declare(conv)
        bias = T.arg("bias", T.buffer((conv.out_channels,), product.accumulator))
        output.declare(conv)
        out = flat(T.arg("out", T.buffer(output.shape(conv), output.dtype)))

        staged = product.stage(shape, tile)
        biases, stride = padded(bias, groups, channels, 0)
        output.prepare(groups, channels)

        def add(place: Place, beside: Sequence[Beside] = ()) -> Accumulators:
            first = T.Bind(place.group * stride + place.block * LANES)
            sums = Accumulators(tile, product.accumulator, biases, first)
            sums.beside = beside
            if expects:
                sums.expect(shape, place, [*output.reads(), out])
            product.add(shape, staged, place, sums)
            return sums

        def write(place: Place) -> None:
            add(place).finish(shape, place, output, out)

        with T.parallel(0, tiling.tasks(shape, tile, shares) // run) as task:
            first = T.Bind(task * run)

            def place(number: tvm.ir.Expr | int) -> Place:
                return tiling.place(shape, tile, first + number, shares)

            if product.unpacks:
                product.unpack(shape, place(0), tile)
            if tile.pipelined:
                vectors = tile.blocks * len(tile.pixels)
                with on_lines(vectors * LANES, product.accumulator) as kept:
                    pipeline = Pipeline(kept, shape, tile, output, out)
                    pipeline.take(add(place(0)))
                    with T.serial(1, run) as number:
                        beside = pipeline.finish(place(number - 1))
                        pipeline.take(add(place(number), beside))
                    for work in pipeline.finish(place(run - 1)):
                        work.alone()
            else:
                with T.serial(0, run) as number:
                    write(place(number))
    return builder.get()
