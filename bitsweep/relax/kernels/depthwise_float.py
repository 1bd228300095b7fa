"""Depthwise convolutions of float32 activations by packed float32 weights."""

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import tiling
from .accumulators import Accumulators
from .attributes import mark
from .dot import vector_registers
from .float_output import FloatOutput
from .geometry import Conv2D
from .lanes import load, padded
from .packing import LANES, packed_float_shape
from .staging import flat, stage


def kernel(conv: Conv2D, output: FloatOutput, target: tvm.target.Target) -> tvm.tirx.PrimFunc:
    """The kernel of a depthwise convolution: as of `conv2d_float.kernel`."""
    _, taps, _ = weight_shape = packed_float_shape(conv.weight_shape, conv.groups)
    tile = tiling.choose(conv, vector_registers(target), tiling.cores(target), step=1)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        x = T.arg("x", T.buffer(conv.input_shape, "float32"))
        weight = T.arg("weight", T.buffer(weight_shape, "float32"))
        bias = T.arg("bias", T.buffer((conv.out_channels,), "float32"))
        output.declare(conv)
        out = T.arg("out", T.buffer(conv.output_shape, "float32"))

        staged = stage(x, conv, multiple=LANES, padding_value=0)
        weights, result = flat(weight), flat(out)
        biases, _ = padded(bias, 1, conv.out_channels, 0)
        output.prepare()

        with T.parallel(0, tiling.tasks(conv, tile)) as task:
            place = tiling.place(conv, tile, task)
            start = staged.start(conv, place)
            accumulators = Accumulators(tile, "float32")
            accumulators.start(biases, place.block * LANES)

            def step(offset: tvm.ir.Expr, tap: tvm.ir.Expr) -> None:
                """Add the products of one tap."""
                w = T.Bind(load(weights, (place.block * taps + tap) * LANES, LANES))
                at = T.Bind(start + offset)
                for p, pixel in enumerate(tile.pixels):
                    product = load(staged.data, at + staged.window(conv, *pixel), LANES) * w
                    accumulators.update(p, 0, lambda acc, product=product: acc + product)

            staged.walk(conv, LANES, 1, step)
            accumulators.finish(conv, place, output, result)
    return builder.get()
