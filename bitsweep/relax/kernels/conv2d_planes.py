"""Convolutions of bit planes of activations by bit planes of weights.

A weight of b bits is Σ 2^i·wᵢ with wᵢ = ±1, an activation Σ 2^j·xⱼ with xⱼ = 0 or 1. Over the
elements of a window, Σ wᵢ·xⱼ is |nᵢ| − |nᵢ ⊕ xⱼ|, where nᵢ has a bit for each wᵢ = 1, and |·|
counts bits: of each pair of planes the kernel subtracts its count; all |nᵢ| are in the bias.
"""

from dataclasses import replace
from itertools import product

import numpy as np
import tvm
from tvm.target.codegen import target_has_features
from tvm.tirx.script import builder as T

from . import frame, tiling
from .accumulators import Accumulators, Output
from .dot import has_vnni, is_x86_64, vector_registers
from .geometry import Conv2D
from .lanes import load
from .packing import LANES, QUAD
from .planes import HALVES, WORD, packed_planes_shape, planes_shape, words
from .staging import Staged, flat, stage
from .tiling import Place, Tile

MOST_WEIGHT_BITS = 2
MOST_INPUT_BITS = 4
_INSTRUCTIONS = 3  # to compare two words of each channel, to count, and to subtract


def kernel(
    conv: Conv2D,
    *,
    weight_bits: int,
    input_bits: int,
    input_zero_point: int,
    output: Output,
    target: tvm.target.Target,
) -> tvm.tirx.PrimFunc:
    """The kernel of a convolution; a dense layer is one of a 1×1 window.

    Args:
        conv: the convolution; `serves` says which.
        weight_bits: the planes of the weights.
        input_bits: the planes of the activations.
        input_zero_point: the value that pads the image.
        output: what becomes of the sums.
        target: the target, an x86.

    Returns:
        A function of (x as `planes.planes_shape`, weight as `planes.pack_planes` packs it, bias as
        `bias_of_counts`, what `output` declares, out).
    """
    counts = Planes(conv, weight_bits, input_bits, input_zero_point, target)
    return frame.kernel(conv, counts, output, tiling.cores(target))


def serves(conv: Conv2D, weight_bits: int, input_bits: int, target: tvm.target.Target) -> bool:
    """Whether the kernel can compute a convolution.

    Groups share no word of channels; an instruction of x86 gathers the bits of a vector.
    """
    return (
        is_x86_64(target)
        and weight_bits <= MOST_WEIGHT_BITS
        and input_bits <= MOST_INPUT_BITS
        and not conv.depthwise
        and (conv.groups == 1 or conv.inputs_per_group % WORD == 0)
    )


def pays(conv: Conv2D, weight_bits: int, input_bits: int, target: tvm.target.Target) -> bool:
    """Whether it takes less than dot products of bytes, for 16 channels of a tap."""
    count, dot = _costs(target)
    pairs = weight_bits * input_bits
    quads = -(-conv.inputs_per_group // QUAD)
    return words(conv.inputs_per_group) * pairs * count < quads * dot


def bias_of_counts(
    bias: np.ndarray, weight: np.ndarray, weight_bits: int, input_bits: int
) -> np.ndarray:
    """The bias from which counts are subtracted.

    Args:
        bias: int32 (O,).
        weight: int8 (O,KH,KW,C/groups), odd.
        weight_bits: the bits of a weight.
        input_bits: the planes of the activations.

    Returns:
        int32 (O,), modulo 2^32, as the sums are: bias + (2^input_bits − 1) Σ n.
    """
    codes = (weight.reshape(len(weight), -1).astype(np.int64) + 2**weight_bits - 1) >> 1
    total = bias + (2**input_bits - 1) * codes.sum(axis=1)
    return total.astype(np.int32)


class Planes:
    """The count of a word's differing bits in 16 channels."""

    accumulator = "int32"
    unpacks = False

    def __init__(
        self,
        conv: Conv2D,
        weight_bits: int,
        input_bits: int,
        input_zero_point: int,
        target: tvm.target.Target,
    ) -> None:
        self._channels = conv.in_channels
        self._weight_bits = weight_bits
        self._input_bits = input_bits
        self._zero_point = input_zero_point
        self._target = target

    def tiles(self, conv: Conv2D) -> list[Tile]:
        # a word and its count take a register each
        return tiling.by_cost(
            conv,
            vector_registers(self._target) - 1,
            tiling.cores(self._target),
            step=WORD,
            instructions=_INSTRUCTIONS,
            passes=self._weight_bits * self._input_bits,
        )

    def declare(self, conv: Conv2D) -> None:
        shape = packed_planes_shape(conv.weight_shape, self._weight_bits, conv.groups)
        self._x = T.arg("x", T.buffer(planes_shape(conv.input_shape, self._input_bits), "uint16"))
        self._weight = T.arg("weight", T.buffer(shape, "uint32"))

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
        self._weights = flat(self._weight)
        halves = words(self._channels) * HALVES
        planes = replace(conv, batch=self._input_bits * conv.batch, in_channels=halves)

        def padding(image: tvm.ir.Expr, element: tvm.ir.Expr) -> tvm.ir.Expr:
            """The bit of the zero point, for all channels that there are."""
            whole, rest = divmod(self._channels, LANES)
            there = T.Select(element < whole, T.uint16(0xFFFF), T.uint16(0))
            if rest:
                there = T.Select(element == whole, T.uint16(2**rest - 1), there)
            is_set = T.int32(self._zero_point) >> image // conv.batch & T.int32(1)
            return T.Select(is_set == T.int32(1), there, T.uint16(0))

        padding_value = padding if self._zero_point else 0
        return stage(self._x, planes, multiple=1, padding_value=padding_value)

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        """By sums of the planes' numbers, from the greatest: each doubles what is there."""
        tile = sums.tile
        of_planes = packed_planes_shape(conv.weight_shape, self._weight_bits, conv.groups)
        _, groups, blocks, rows, _ = of_planes
        start = staged.start(conv, place)
        first_row = T.Bind((place.group * blocks + place.block) * rows)
        pairs = list(product(range(self._weight_bits), range(self._input_bits)))
        for power in reversed(range(self._weight_bits + self._input_bits - 1)):
            if power == self._weight_bits + self._input_bits - 2:
                sums.start(T.broadcast(T.int32(0), LANES) if power else None)
            else:
                for b in range(tile.blocks):
                    bias = T.broadcast(T.int32(0), LANES) if power else sums.bias(b)
                    for p in range(len(tile.pixels)):
                        sums.update(p, b, lambda acc, bias=bias: acc + acc + bias)
            for i, j in (pair for pair in pairs if sum(pair) == power):
                own_row = first_row + i * groups * blocks * rows
                own_start = start + j * conv.batch * staged.image

                def step(offset: tvm.ir.Expr, k: tvm.ir.Expr, row=own_row, x=own_start) -> None:
                    """Subtract the differing bits of 32 input channels of one tap."""
                    at_row = T.Bind(row + k)
                    vectors = [
                        T.Bind(load(self._weights, (at_row + b * rows) * LANES, LANES))
                        for b in range(tile.blocks)
                    ]
                    at = T.Bind(x + offset)
                    for p, pixel in enumerate(tile.pixels):
                        halves = load(staged.data, at + staged.window(conv, *pixel), HALVES)
                        word = T.broadcast(T.reinterpret("uint32", halves), LANES)
                        value = T.Bind(word)
                        for b, vector in enumerate(vectors):
                            sums.update(p, b, lambda acc, x=value, n=vector: acc - _count(x ^ n))

                staged.walk(conv, HALVES, words(conv.inputs_per_group), step)


def _count(vector: tvm.ir.Expr) -> tvm.ir.Expr:
    return T.reinterpret(f"int32x{LANES}", T.popcount(vector))


def _costs(target: tvm.target.Target) -> tuple[float, float]:
    """About what it takes to compare and count the bits of a vector, and a dot product of bytes.

    In dot products of AVX512-VNNI, of which a core of most CPUs does two a cycle. Counting takes an
    instruction of three on AVX512-VPOPCNTDQ, of which Zen does up to four a cycle and Intel's two.
    """
    if target_has_features(["avx512f", "avx512vpopcntdq"], target):
        count = 1.7 if str(target.attrs.get("mcpu", "")).startswith("znver") else 3
    else:
        count = 14 if target_has_features("avx512bw", target) else 28
    return count, 1 if has_vnni(target) else 16
