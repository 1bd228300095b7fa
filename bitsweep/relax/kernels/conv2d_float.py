"""Convolutions of float32 activations by packed float32 weights."""

import tvm
from tvm.tirx.script import builder as T

from . import frame, tiling
from .accumulators import Accumulators
from .depthwise_floats import DepthwiseFloats
from .dot import vector_registers
from .float_output import FloatOutput
from .geometry import Conv2D
from .lanes import load
from .packing import LANES, packed_float_shape
from .staging import Staged, flat, stage
from .tiling import Place, Tile


def kernel(
    conv: Conv2D, *, residual: bool, clip: tuple[float, float], target: tvm.target.Target
) -> tvm.tirx.PrimFunc:
    """The kernel of a convolution; a dense layer is one of a 1×1 window.

    out = clip(bias + Σ x·w + residual), where 0 pads x.

    Args:
        conv: the convolution, which gives the shapes of the arguments.
        residual: whether a second input of the output's shape is added.
        clip: the least and the greatest value of the output; an infinite one is none.
        target: the target, whose registers give the size of a tile.

    Returns:
        A function of (x, weight as `pack_float` packs it, bias, [residual], out).
    """
    product = DepthwiseFloats(target) if conv.depthwise else Floats(target)
    return frame.kernel(conv, product, FloatOutput(residual, clip), tiling.cores(target))


class Floats:
    """A multiplication and an addition of 16 channels."""

    accumulator = "float32"
    unpacks = False

    def __init__(self, target: tvm.target.Target) -> None:
        self._target = target

    def tiles(self, conv: Conv2D) -> list[Tile]:
        registers = vector_registers(self._target)
        return tiling.by_cost(conv, registers, tiling.cores(self._target), step=1)

    def declare(self, conv: Conv2D) -> None:
        shape = packed_float_shape(conv.weight_shape, conv.groups)
        self._x = T.arg("x", T.buffer(conv.input_shape, "float32"))
        self._weight = T.arg("weight", T.buffer(shape, "float32"))

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
        self._weights = flat(self._weight)
        return stage(self._x, conv, multiple=1, padding_value=0)

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        _, blocks, rows, _ = packed_float_shape(conv.weight_shape, conv.groups)
        start = staged.start(conv, place)
        first_row = T.Bind((place.group * blocks + place.block) * rows)
        sums.start()

        def step(offset: tvm.ir.Expr, k: tvm.ir.Expr) -> None:
            """Add the products of one input channel of one tap."""
            row = T.Bind(first_row + k)
            vectors = [
                T.Bind(load(self._weights, (row + b * rows) * LANES, LANES))
                for b in range(sums.tile.blocks)
            ]
            at = T.Bind(start + offset)
            for p, pixel in enumerate(sums.tile.pixels):
                scalar = load(staged.data, at + staged.window(conv, *pixel), 1)
                value = T.Bind(T.broadcast(scalar, LANES))
                for b, vector in enumerate(vectors):
                    # LLVM makes one instruction of the two where the target has it
                    sums.update(p, b, lambda acc, x=value, w=vector: acc + x * w)

        staged.walk(conv, 1, conv.inputs_per_group, step)
