"""The 4-byte dot product of 16 output channels, and the vectors that a target has.

`vpdpbusd` multiplies four unsigned bytes by four signed ones and adds the products to an int32, in
each of 16 lanes. A target without it gets the same sums, exact, from 32-bit multiplications, which
LLVM narrows to `pmaddwd` where both factors are short.
"""

import tvm
from tvm.target.codegen import llvm_get_system_triple, target_has_features
from tvm.tirx.script import builder as T


def has_vnni(target: tvm.target.Target) -> bool:
    """Whether the target multiplies bytes with AVX512-VNNI."""
    return target.kind.name == "llvm" and target_has_features(["avx512f", "avx512vnni"], target)


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


def _lanes(value: int) -> tvm.ir.Expr:
    return T.broadcast(T.int32(value), 16)
