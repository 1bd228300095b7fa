"""Depthwise convolutions of unsigned 8-bit activations by packed integer weights."""

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import tiling
from .accumulators import Accumulators
from .attributes import mark
from .dot import vector_registers
from .geometry import Conv2D
from .lanes import load, padded
from .packing import LANES, container_bits, midrise_offset, packed_integer_shape
from .requantization import Requantization
from .staging import flat, stage


def kernel(
    conv: Conv2D,
    weight_bits: int,
    input_zero_point: int,
    output: Requantization,
    target: tvm.target.Target,
) -> tvm.tirx.PrimFunc:
    """The kernel of a depthwise convolution: as of `conv2d_integer.kernel`."""
    container = container_bits(weight_bits)
    per = 8 // container
    _, rows, _ = weight_shape = packed_integer_shape(conv.weight_shape, weight_bits, conv.groups)
    # an activation and a product take a register each
    tile = tiling.choose(conv, vector_registers(target) - 2, tiling.cores(target), step=1)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        x = T.arg("x", T.buffer(conv.input_shape, "uint8"))
        weight = T.arg("weight", T.buffer(weight_shape, "uint8"))
        bias = T.arg("bias", T.buffer((conv.out_channels,), "int32"))
        output.declare(conv)
        out = T.arg("out", T.buffer(conv.output_shape, output.out_dtype))

        staged = stage(x, conv, multiple=LANES, padding_value=input_zero_point)
        weights, result = flat(weight), flat(out)
        biases, _ = padded(bias, 1, conv.out_channels, 0)
        output.prepare(1, conv.out_channels)

        with T.parallel(0, tiling.tasks(conv, tile)) as task:
            place = tiling.place(conv, tile, task)
            start = staged.start(conv, place)
            accumulators = Accumulators(tile, "int32")
            accumulators.start(biases, place.block * LANES)

            def step(offset: tvm.ir.Expr, tap: tvm.ir.Expr) -> None:
                """Add the products of one tap."""
                packed = load(weights, (place.block * rows + tap // per) * LANES, LANES)
                w = T.Bind(_unpack(packed, weight_bits, tap % per * container))
                at = T.Bind(start + offset)
                for p, pixel in enumerate(tile.pixels):
                    vector = load(staged.data, at + staged.window(conv, *pixel), LANES)
                    product = T.Cast(f"int32x{LANES}", vector) * w
                    accumulators.update(p, 0, lambda acc, product=product: acc + product)

            staged.walk(conv, LANES, 1, step)
            accumulators.finish(conv, place, output, result)
    return builder.get()


def _unpack(packed: tvm.ir.Expr, bits: int, bit: tvm.ir.Expr) -> tvm.ir.Expr:
    """int32x16 of the weights that start at bit number `bit` of the bytes of uint8x16."""
    wide = f"int32x{LANES}"
    offset = midrise_offset(bits)
    if offset is None:
        return T.Cast(wide, T.reinterpret(f"int8x{LANES}", packed))
    mask = 2 ** container_bits(bits) - 1
    codes = T.Cast(wide, packed) >> T.broadcast(bit, LANES) & T.broadcast(T.int32(mask), LANES)
    return codes + codes - T.broadcast(T.int32(offset), LANES)
