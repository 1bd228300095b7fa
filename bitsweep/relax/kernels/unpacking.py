"""Packed integer weights as the factors of products."""

import tvm
from tvm.tirx.script import builder as T

from .packing import LANES, QUAD, container_bits, midrise_offset


def quads(packed: tvm.ir.Expr, bits: int, bit: tvm.ir.Expr) -> tvm.ir.Expr:
    """int8x64 of the weights that start at bit number `bit` of the bytes of uint8x64."""
    offset = midrise_offset(bits)
    if offset is None:
        return T.reinterpret("int8x64", packed)
    mask = (2 ** container_bits(bits) - 1) * 0x01010101
    words = T.reinterpret("uint32x16", packed) >> T.broadcast(T.Cast("uint32", bit), LANES)
    codes = T.Bind(T.reinterpret("int8x64", words & T.broadcast(T.uint32(mask), LANES)))
    return codes + codes - T.broadcast(T.int8(offset), LANES * QUAD)


def singles(packed: tvm.ir.Expr, bits: int, bit: tvm.ir.Expr | int) -> tvm.ir.Expr:
    """int32x16 of the weights that start at bit number `bit` of the bytes of uint8x16."""
    wide = f"int32x{LANES}"
    offset = midrise_offset(bits)
    if offset is None:
        return T.Cast(wide, T.reinterpret(f"int8x{LANES}", packed))
    mask = 2 ** container_bits(bits) - 1
    codes = T.Cast(wide, packed) >> T.broadcast(bit, LANES) & T.broadcast(T.int32(mask), LANES)
    return codes + codes - T.broadcast(T.int32(offset), LANES)
