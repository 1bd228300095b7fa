"""Bit planes: the same bit of 32 channels in a word, of activations and of weights.

Plane j of a tensor holds bit j of its elements. Its pixels have words for all channels, the first
in the lowest bit; they are kept as halves of 16 bits, which is what a vector of channels fills.
"""

from collections.abc import Sequence

import numpy as np
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .attributes import mark
from .geometry import Conv2D
from .lanes import load, on_stack, store
from .packing import LANES, lanes_last
from .staging import flat

WORD = 32
HALVES = WORD // LANES


def words(channels: int) -> int:
    """The words of a pixel."""
    return -(-channels // WORD)


def planes_shape(shape: tuple[int, int, int, int], bits: int) -> tuple[int, ...]:
    """The shape of the planes, uint16, of a tensor of shape (N,H,W,C)."""
    *pixels, channels = shape
    return (bits, *pixels, words(channels) * HALVES)


def packed_planes_shape(
    shape: tuple[int, int, int, int], bits: int, groups: int
) -> tuple[int, ...]:
    """The shape of `pack_planes` of a weight of shape (O,KH,KW,C/groups)."""
    outputs, height, width, inputs = shape
    blocks = -(-outputs // groups // LANES)
    return (bits, groups, blocks, height * width * words(inputs), LANES)


def pack_planes(weight: np.ndarray, bits: int, groups: int) -> np.ndarray:
    """Pack the codes n of weights w = 2n − (2^bits − 1).

    Args:
        weight: int8 of (O,KH,KW,C/groups), the odd numbers within ±(2^bits − 1).
        bits: the bits of a weight, 1 to 4.
        groups: the groups of the convolution.

    Returns:
        uint32 of (bits, groups, ceil(O/groups/16), KH·KW·ceil(C/groups/32), 16), the first channel
        in the lowest bit; 0 where there is none.
    """
    outputs, inputs = weight.shape[0], weight.shape[3]
    codes = ((weight.astype(np.int8, copy=False) + np.int8(2**bits - 1)) >> 1).view(np.uint8)
    codes = np.pad(codes, [(0, 0)] * 3 + [(0, -inputs % WORD)])
    packed = []
    for plane in range(bits):
        of_bytes = np.packbits(codes >> np.uint8(plane) & 1, axis=-1, bitorder="little")
        rows = of_bytes.view("<u4").reshape(groups, outputs // groups, -1)
        packed.append(lanes_last(rows))
    return np.stack(packed).reshape(packed_planes_shape(weight.shape, bits, groups))


def kernel(shape: tuple[int, int, int, int], bits: int) -> tvm.tirx.PrimFunc:
    """The planes of the lowest `bits` bits of uint8 (N,H,W,C): a function of (x, shifts, out).

    TVM takes a function of one input for a reshape, unless it is written in blocks, and fails:
    so the shifts that bring each plane's bits to the top are an input, uint8 (bits, 16).
    """
    *extents, channels = shape
    pixels = int(np.prod(extents))
    halves = words(channels) * HALVES
    whole = channels // LANES

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        arguments = [
            T.arg("x", T.buffer(shape, "uint8")),
            T.arg("shifts", T.buffer((bits, LANES), "uint8")),
            T.arg("out", T.buffer(planes_shape(shape, bits), "uint16")),
        ]
        x, shifts, out = map(flat, arguments)
        with T.parallel(0, pixels) as pixel:

            def write(half: tvm.ir.Expr | int, vector: tvm.ir.Expr | None) -> None:
                for plane in range(bits):
                    word = T.uint16(0)
                    if vector is not None:
                        word = _top_bits(vector << load(shifts, plane * LANES, LANES))
                    T.buffer_store(out, word, [(plane * pixels + pixel) * halves + half])

            with T.serial(0, whole) as half:
                write(half, T.Bind(load(x, pixel * channels + half * LANES, LANES)))
            if channels % LANES:
                rest = on_stack(LANES, "uint8")
                store(rest, 0, T.broadcast(T.uint8(0), LANES))
                with T.serial(0, channels % LANES) as c:
                    T.buffer_store(rest, x[pixel * channels + whole * LANES + c], [c])
                write(whole, T.Bind(load(rest, 0, LANES)))
            if halves > -(-channels // LANES):
                write(halves - 1, None)
    return builder.get()


def bits_of(vector: tvm.ir.Expr, plane: int) -> tvm.ir.Expr:
    """uint16 of a bit of each of 16 bytes, on x86."""
    return _top_bits(vector << T.broadcast(T.uint8(7 - plane), LANES))


def shifts(bits: int) -> np.ndarray:
    """What `kernel` takes."""
    return np.repeat(7 - np.arange(bits, dtype=np.uint8), LANES).reshape(bits, LANES)


def _top_bits(vector: tvm.ir.Expr) -> tvm.ir.Expr:
    return signs(T.reinterpret(f"int8x{LANES}", vector))


def signs(vector: tvm.ir.Expr) -> tvm.ir.Expr:
    """uint16 of the signs of int8x16, on x86."""
    mask = T.call_llvm_pure_intrin("int32", "llvm.x86.sse2.pmovmskb.128", vector)
    return T.Cast("uint16", mask)


class PlaneStore:
    """Writes 16 channels of a convolution's output as bits of planes, and reads them."""

    def __init__(self, conv: Conv2D, bits: int) -> None:
        self.shape = planes_shape(conv.output_shape, bits)
        self._bits = bits
        self._channels = conv.out_channels
        self._pixels = conv.batch * conv.out_height * conv.out_width
        self._halves = self.shape[-1]

    def write(
        self,
        out: tvm.tirx.Buffer,
        pixel: tvm.ir.Expr,
        channel: tvm.ir.Expr,
        planes: Sequence[tvm.ir.Expr],
    ) -> None:
        """Write a uint16 of each plane: of `channel`, a multiple of 16, and the 15 after it."""
        half = T.Bind(channel // LANES)
        rest = self._channels % LANES
        for plane, word in enumerate(planes):
            if rest:
                is_last = half == self._channels // LANES
                word = word & T.Select(is_last, T.uint16(2**rest - 1), T.uint16(0xFFFF))
            T.buffer_store(out, word, [self._at(plane, pixel, half)])
        if self._halves > -(-self._channels // LANES):
            with T.If(half == self._halves - 2), T.Then():
                for plane in range(self._bits):
                    at = self._at(plane, pixel, self._halves - 1)
                    T.buffer_store(out, T.uint16(0), [at])

    def read(
        self, data: tvm.tirx.Buffer, pixel: tvm.ir.Expr, channel: tvm.ir.Expr
    ) -> list[tvm.ir.Expr]:
        """Of each plane, where its bits are set: conditions on 16 lanes."""
        half = T.Bind(channel // LANES)
        lane = T.broadcast(T.int32(1), LANES) << T.ramp(T.int32(0), T.int32(1), LANES)
        planes = []
        for plane in range(self._bits):
            word = T.Cast("int32", data[self._at(plane, pixel, half)])
            planes.append((T.broadcast(word, LANES) & lane) != T.broadcast(T.int32(0), LANES))
        return planes

    def _at(self, plane: int, pixel: tvm.ir.Expr, half: tvm.ir.Expr | int) -> tvm.ir.Expr:
        return (plane * self._pixels + pixel) * self._halves + half
