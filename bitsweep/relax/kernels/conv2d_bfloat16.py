"""Convolutions of activations by packed weights, both rounded to bfloat16; sums are float32."""

import tvm
from tvm.tirx.script import builder as T

from . import frame, tiling
from .accumulators import Accumulators
from .dot import PairDot, vector_registers
from .float_output import FloatOutput
from .geometry import Conv2D
from .lanes import load
from .packing import LANES, PAIR, packed_bfloat16_shape
from .staging import Staged, flat, stage
from .tiling import Place, Tile

_VECTOR = LANES * PAIR


def kernel(
    conv: Conv2D,
    *,
    input_dtype: str,
    output_dtype: str,
    residual: bool,
    clip: tuple[float, float],
    target: tvm.target.Target,
) -> tvm.tirx.PrimFunc:
    """The kernel of a convolution that is not depthwise; a dense layer is one of a 1×1 window.

    out = clip(bias + Σ x·w + residual), where 0 pads x, and bias and residual are float32.

    Args:
        conv: the convolution, which gives the shapes of the arguments.
        input_dtype: of x, which is rounded where it is float32.
        output_dtype: of out, float32 or bfloat16.
        residual: whether a second input of the output's shape is added.
        clip: the least and the greatest value of the output; an infinite one is none.
        target: the target, whose instructions choose the code.

    Returns:
        A function of (x, weight as `pack_bfloat16` packs `joined`'s, bias, [residual], out).
    """
    output = FloatOutput(residual, clip, output_dtype)
    return frame.kernel(conv, Pairs(input_dtype, target), output, tiling.cores(target))


def joined(conv: Conv2D) -> Conv2D:
    """The convolution that the weights are packed for."""
    return conv.joined(16, PAIR)


class Pairs:
    """A dot product of 2 bfloat16 in 16 channels."""

    accumulator = "float32"
    unpacks = False

    def __init__(self, input_dtype: str, target: tvm.target.Target) -> None:
        self._input_dtype = input_dtype
        self._target = target
        self._dot = PairDot(target)

    def tiles(self, conv: Conv2D) -> list[Tile]:
        registers = vector_registers(self._target)
        return tiling.by_cost(conv, registers, tiling.cores(self._target), step=PAIR)

    def declare(self, conv: Conv2D) -> None:
        shape = packed_bfloat16_shape(joined(conv).weight_shape, conv.groups)
        self._x = T.arg("x", T.buffer(conv.input_shape, self._input_dtype))
        self._weight = T.arg("weight", T.buffer(shape, "bfloat16"))

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
        self._weights = flat(self._weight)
        multiple, spare = PAIR, 0
        if joined(conv) != conv:
            multiple, spare = 1, -joined(conv).in_channels % PAIR
        read_as_float = self._dot.activation == "float32"
        # as integers: TVM makes float32 of a bfloat16 buffer that is a function's own
        return stage(
            *(self._x, conv),
            multiple=multiple,
            spare=spare,
            padding_value=0,
            dtype=self._dot.activation,
            convert=_rounded if read_as_float else _bits,
            in_place=self._input_dtype == "bfloat16" and not read_as_float,
        )

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        dot = self._dot
        conv_of_rows = joined(conv)
        pairs = -(-conv_of_rows.inputs_per_group // PAIR)
        _, blocks, rows, *_ = packed_bfloat16_shape(conv_of_rows.weight_shape, conv.groups)
        start = staged.start(conv, place)
        first_row = T.Bind((place.group * blocks + place.block) * rows)
        sums.start()

        def step(offset: tvm.ir.Expr, k2: tvm.ir.Expr) -> None:
            """Add the products of 2 input channels of one tap."""
            row = T.Bind(first_row + k2)
            vectors = []
            for b in range(sums.tile.blocks):
                vector = load(self._weights, (row + b * rows) * _VECTOR, _VECTOR)
                vectors.append(dot.weights(T.reinterpret(f"int32x{LANES}", vector)))
            at = T.Bind(start + offset)
            for p, pixel in enumerate(sums.tile.pixels):
                activations = dot.activations(staged.data, at + staged.window(conv, *pixel))
                for b, vector in enumerate(vectors):
                    sums.update(p, b, lambda acc, x=activations, w=vector: dot(acc, x, w))

        with dot.imported():
            staged.walk(conv_of_rows, PAIR, pairs, step)


def _bits(value: tvm.ir.Expr) -> tvm.ir.Expr:
    """uint16 of a bfloat16, or of a float32 rounded to it: to nearest, ties to even."""
    if str(value.ty.dtype) == "bfloat16":
        return T.reinterpret("uint16", value)
    word = T.Bind(T.reinterpret("uint32", value))
    rounded = word + T.uint32(0x7FFF) + (word >> T.uint32(16) & T.uint32(1))
    # what is no number stays none, where the sum would run over
    is_number = (word & T.uint32(0x7FFFFFFF)) <= T.uint32(0x7F800000)
    return T.Cast("uint16", T.Select(is_number, rounded >> T.uint32(16), T.uint32(0x7FC0)))


def _rounded(value: tvm.ir.Expr) -> tvm.ir.Expr:
    """float32 of what `_bits` stands for."""
    return T.reinterpret("float32", T.Cast("uint32", _bits(value)) << T.uint32(16))
