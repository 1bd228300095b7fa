"""Convolutions of unsigned 8-bit activations by packed integer weights."""

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import depthwise_integer, tiling
from .accumulators import Accumulators
from .attributes import mark
from .dot import Dot, vector_registers
from .geometry import Conv2D
from .lanes import load, padded
from .packing import LANES, QUAD, container_bits, midrise_offset, packed_integer_shape
from .requantization import Requantization
from .staging import flat, stage


def kernel(
    conv: Conv2D,
    *,
    weight_bits: int,
    input_zero_point: int,
    out_dtype: str,
    residual_zero_point: int | None,
    output_zero_point: int,
    clip: tuple[int, int],
    target: tvm.target.Target,
) -> tvm.tirx.PrimFunc:
    """The kernel of a convolution; a dense layer is one of a 1×1 window.

    acc = bias + Σ x·w, where `input_zero_point` pads x; of int32 output that is all, of uint8
    output `Requantization` says the rest.

    Args:
        conv: the convolution, which gives the shapes of the arguments.
        weight_bits: the bits of a weight, 1 to 8.
        input_zero_point: the value that pads the image.
        out_dtype: "uint8" or "int32".
        residual_zero_point: the zero point of a second input that is added; None without one.
        output_zero_point: the zero point of uint8 output.
        clip: the least and the greatest value of uint8 output.
        target: the target, whose instructions choose the code.

    Returns:
        A function of (x, weight as `pack_integer` packs it, bias, [multiplier, shift, half,
        [residual, residual_multiplier]], out); the brackets hold what uint8 output takes, and a
        residual.

    Raises:
        ValueError: as of `Requantization` and `container_bits`.
    """
    output = Requantization(out_dtype, residual_zero_point, output_zero_point, clip)
    if conv.depthwise:
        return depthwise_integer.kernel(conv, weight_bits, input_zero_point, output, target)
    shape = conv.flattened()
    container = container_bits(weight_bits)
    per = 8 // container
    _, blocks, rows, *_ = weight_shape = packed_integer_shape(
        conv.weight_shape, weight_bits, conv.groups
    )
    # unpacking takes registers for a mask, an offset and a shift
    registers = vector_registers(target) - (3 if per > 1 else 0)
    tile = tiling.choose(shape, registers, tiling.cores(target), step=QUAD)
    dot = Dot(target)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        x = T.arg("x", T.buffer(conv.input_shape, "uint8"))
        weight = T.arg("weight", T.buffer(weight_shape, "uint8"))
        bias = T.arg("bias", T.buffer((conv.out_channels,), "int32"))
        output.declare(conv)
        out = T.arg("out", T.buffer(conv.output_shape, out_dtype))

        staged = stage(x, shape, multiple=QUAD, padding_value=input_zero_point)
        weights, result = flat(weight), flat(out)
        biases, bias_stride = padded(bias, conv.groups, conv.outputs_per_group, 0)
        output.prepare(conv.groups, conv.outputs_per_group)

        with T.parallel(0, tiling.tasks(shape, tile)) as task:
            place = tiling.place(shape, tile, task)
            start = staged.start(shape, place)
            first_row = T.Bind((place.group * blocks + place.block) * rows)
            accumulators = Accumulators(tile, "int32")
            accumulators.start(biases, place.group * bias_stride + place.block * LANES)

            def step(offset: tvm.ir.Expr, k4: tvm.ir.Expr) -> None:
                """Add the products of 4 input channels of one tap."""
                row = T.Bind(first_row + k4 // per)
                bit = T.Bind(k4 % per * container)
                vectors = []
                for b in range(tile.blocks):
                    packed = load(weights, (row + b * rows) * (LANES * QUAD), LANES * QUAD)
                    vectors.append(dot.weights(_unpack(packed, weight_bits, bit)))
                at = T.Bind(start + offset)
                for p, pixel in enumerate(tile.pixels):
                    quad = load(staged.data, at + staged.window(shape, *pixel), QUAD)
                    activations = dot.activations(T.reinterpret("int32", quad))
                    for b, vector in enumerate(vectors):
                        accumulators.update(
                            p, b, lambda acc, x=activations, w=vector: dot(acc, x, w)
                        )

            staged.walk(shape, QUAD, -(-conv.inputs_per_group // QUAD), step)
            accumulators.finish(shape, place, output, result)
    return builder.get()


def _unpack(packed: tvm.ir.Expr, bits: int, bit: tvm.ir.Expr) -> tvm.ir.Expr:
    """int8x64 of the weights that start at bit number `bit` of the bytes of uint8x64."""
    offset = midrise_offset(bits)
    if offset is None:
        return T.reinterpret("int8x64", packed)
    mask = (2 ** container_bits(bits) - 1) * 0x01010101
    words = T.reinterpret("uint32x16", packed) >> T.broadcast(T.Cast("uint32", bit), LANES)
    codes = T.Bind(T.reinterpret("int8x64", words & T.broadcast(T.uint32(mask), LANES)))
    return codes + codes - T.broadcast(T.int8(offset), LANES * QUAD)
