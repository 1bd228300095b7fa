"""Convolutions of float32 activations by packed float32 weights."""

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import depthwise_float, tiling
from .accumulators import Accumulators
from .attributes import mark
from .dot import vector_registers
from .float_output import FloatOutput
from .geometry import Conv2D
from .lanes import load, padded
from .packing import LANES, packed_float_shape
from .staging import flat, stage


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
    output = FloatOutput(residual, clip)
    if conv.depthwise:
        return depthwise_float.kernel(conv, output, target)
    shape = conv.flattened()
    _, blocks, rows, _ = weight_shape = packed_float_shape(conv.weight_shape, conv.groups)
    tile = tiling.choose(shape, vector_registers(target), tiling.cores(target), step=1)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        x = T.arg("x", T.buffer(conv.input_shape, "float32"))
        weight = T.arg("weight", T.buffer(weight_shape, "float32"))
        bias = T.arg("bias", T.buffer((conv.out_channels,), "float32"))
        output.declare(conv)
        out = T.arg("out", T.buffer(conv.output_shape, "float32"))

        staged = stage(x, shape, multiple=1, padding_value=0)
        weights, result = flat(weight), flat(out)
        biases, bias_stride = padded(bias, conv.groups, conv.outputs_per_group, 0)
        output.prepare()

        with T.parallel(0, tiling.tasks(shape, tile)) as task:
            place = tiling.place(shape, tile, task)
            start = staged.start(shape, place)
            first_row = T.Bind((place.group * blocks + place.block) * rows)
            accumulators = Accumulators(tile, "float32")
            accumulators.start(biases, place.group * bias_stride + place.block * LANES)

            def step(offset: tvm.ir.Expr, k: tvm.ir.Expr) -> None:
                """Add the products of one input channel of one tap."""
                row = T.Bind(first_row + k)
                vectors = [
                    T.Bind(load(weights, (row + b * rows) * LANES, LANES))
                    for b in range(tile.blocks)
                ]
                at = T.Bind(start + offset)
                for p, pixel in enumerate(tile.pixels):
                    scalar = load(staged.data, at + staged.window(shape, *pixel), 1)
                    value = T.Bind(T.broadcast(scalar, LANES))
                    for b, vector in enumerate(vectors):
                        # LLVM makes one instruction of the two where the target has it
                        accumulators.update(p, b, lambda acc, x=value, w=vector: acc + x * w)

            staged.walk(shape, 1, conv.inputs_per_group, step)
            accumulators.finish(shape, place, output, result)
    return builder.get()
