"""The dot products of 16 output channels, and the vectors that a target has.

`vpdpbusd` multiplies four unsigned bytes by four signed ones and adds the products to an int32, in
each of 16 lanes. A target without it gets the same sums, exact, from 32-bit multiplications, which
LLVM narrows to `pmaddwd` where both factors are short.

`vdpbf16ps` multiplies two bfloat16 by two others and adds the products to a float32. Without it
both are multiplied as float32, of which a bfloat16 is the upper half and which hold the products
exactly: sums differ by the order of additions and by what is subnormal, for the instruction 0.
"""

from contextlib import AbstractContextManager, nullcontext

import tvm
from tvm.target.codegen import llvm_get_system_triple, target_has_features
from tvm.tirx.script import builder as T


def has_vnni(target: tvm.target.Target) -> bool:
    """Whether the target multiplies bytes with AVX512-VNNI."""
    return target.kind.name == "llvm" and target_has_features(["avx512f", "avx512vnni"], target)


def has_bfloat16(target: tvm.target.Target) -> bool:
    """Whether the target multiplies bfloat16 with AVX512-BF16."""
    return target.kind.name == "llvm" and target_has_features(["avx512f", "avx512bf16"], target)


def is_x86_64(target: tvm.target.Target) -> bool:
    """Whether LLVM compiles for x86-64, where no triple is given for this machine's."""
    triple = target.attrs.get("mtriple") or llvm_get_system_triple()
    return target.kind.name == "llvm" and str(triple).startswith("x86_64")


def vector_registers(target: tvm.target.Target) -> int:
    """How many vectors of 16 × 32 bits the target's registers hold."""
    if target.kind.name == "llvm" and target_has_features("avx512f", target):
        return 32
    return 8  # 16 registers of AVX, of half the width


class Dot:
    """Emits acc + Σ x·w of 4 bytes in 16 lanes, for a target."""

    def __init__(self, target: tvm.target.Target) -> None:
        self._vnni = has_vnni(target)

    def weights(self, vector: tvm.ir.Expr) -> list[tvm.ir.Expr]:
        """What `dot` multiplies by, made once for many activations.

        Args:
            vector: int8x64, for each of 16 lanes 4 signed bytes.
        """
        if self._vnni:
            return [T.Bind(vector)]
        lanes = T.Bind(T.reinterpret("int32x16", vector))
        top = [lanes << _lanes(24 - 8 * byte) if byte < 3 else lanes for byte in range(4)]
        return [T.Bind(byte >> _lanes(24)) for byte in top]

    def activations(self, quad: tvm.ir.Expr) -> list[tvm.ir.Expr]:
        """The other factor.

        Args:
            quad: int32, 4 unsigned bytes.
        """
        if self._vnni:
            return [T.Bind(T.reinterpret("int8x64", T.broadcast(quad, 16)))]
        word = T.Bind(T.reinterpret("uint32", quad))
        bytes_ = [word >> T.uint32(8 * byte) & T.uint32(255) for byte in range(4)]
        return [T.Bind(T.broadcast(byte.astype("int32"), 16)) for byte in bytes_]

    def __call__(
        self,
        accumulator: tvm.ir.Expr,
        activations: list[tvm.ir.Expr],
        weights: list[tvm.ir.Expr],
    ) -> tvm.ir.Expr:
        """The int32x16 accumulator with the dot products added."""
        if self._vnni:
            name = "llvm.x86.avx512.vpdpbusd.512"
            return T.call_llvm_pure_intrin(
                "int32x16", name, accumulator, activations[0], weights[0]
            )
        for x, w in zip(activations, weights, strict=True):
            accumulator = accumulator + x * w
        return accumulator


# No bfloat16 gets past TVM's lowering, which makes 16-bit integers of it, to LLVM's intrinsic.
_NAME = "bitsweep_dot_bfloat16"
_IMPORTED = f"""
define <16 x float> @{_NAME}(<16 x float> %sum, <16 x i32> %x, <16 x i32> %w) {{
  %a = bitcast <16 x i32> %x to <32 x bfloat>
  %b = bitcast <16 x i32> %w to <32 x bfloat>
  %added = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(
      <16 x float> %sum, <32 x bfloat> %a, <32 x bfloat> %b)
  ret <16 x float> %added
}}
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(
    <16 x float>, <32 x bfloat>, <32 x bfloat>)
"""


class PairDot:
    """Emits acc + Σ x·w of 2 bfloat16 in 16 lanes, for a target, within `imported`.

    Attributes:
        activation: the type that activations lie in: uint16, their bits, or float32.
    """

    def __init__(self, target: tvm.target.Target) -> None:
        self._native = has_bfloat16(target)
        self.activation = "uint16" if self._native else "float32"

    def imported(self) -> AbstractContextManager:
        """The statement that the products are emitted in."""
        if not self._native:
            return nullcontext()
        return T.attr(T.int32(0), "pragma_import_llvm", _IMPORTED)

    def weights(self, vector: tvm.ir.Expr) -> list[tvm.ir.Expr]:
        """What `dot` multiplies by, made once for many activations.

        Args:
            vector: int32x16, for each of 16 lanes 2 bfloat16, the first in the lower half.
        """
        vector = T.Bind(vector)
        if self._native:
            return [vector]
        halves = vector << _lanes(16), vector & _lanes(-(1 << 16))
        return [T.Bind(T.reinterpret("float32x16", half)) for half in halves]

    def activations(self, data: tvm.tirx.Buffer, at: tvm.ir.Expr) -> list[tvm.ir.Expr]:
        """The other factor: 2 elements of a flat buffer from `at` on."""
        if not self._native:
            return [T.Bind(T.broadcast(data[at + place], 16)) for place in range(2)]
        pair = T.reinterpret("int32", data[T.ramp(at, 1, 2)])
        return [T.Bind(T.broadcast(pair, 16))]

    def __call__(
        self,
        accumulator: tvm.ir.Expr,
        activations: list[tvm.ir.Expr],
        weights: list[tvm.ir.Expr],
    ) -> tvm.ir.Expr:
        """The float32x16 accumulator with the dot products added."""
        if self._native:
            return T.call_pure_extern("float32x16", _NAME, accumulator, activations[0], weights[0])
        for x, w in zip(activations, weights, strict=True):
            accumulator = accumulator + x * w
        return accumulator


def _lanes(value: int) -> tvm.ir.Expr:
    return T.broadcast(T.int32(value), 16)
