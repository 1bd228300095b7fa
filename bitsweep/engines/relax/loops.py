"""Loops that do nothing but one kind of arithmetic, or read memory, as LLVM IR.

TVM's runtime compiles and loads such text by itself. A function takes how many rounds to do, and an
address; a round is one instruction on each of its accumulators, which depend on none of the others.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

_PREFIX = "__tvm_ffi_"  # of functions that TVM finds in a library


@dataclass(frozen=True)
class Vectors:
    """The CPU's widest vectors: their bits, and how many accumulators fit its registers."""

    bits: int
    accumulators: int

    @classmethod
    def of(cls, flags: Collection[str]) -> "Vectors":
        """Return those of a CPU with these flags of /proc/cpuinfo."""
        if "avx512f" in flags:
            return cls(512, 24)
        if "avx" in flags:
            return cls(256, 12)
        return cls(128, 12)


@dataclass(frozen=True)
class Loop:
    """A function in LLVM IR: its name, its text, and what a round does: products, or bytes."""

    name: str
    text: str
    work: int


def loops(flags: Collection[str], cpu: str) -> list[Loop]:
    """Return the loops that a CPU with these flags has the instructions for, `cpu` LLVM's name.

    They are `float` (fused multiply-add), `bfloat16` (`vdpbf16ps`: sums of two products), `integer`
    (`vpdpbusd`: sums of four products of bytes), `bits` (`vpopcntd` of bits compared: a product of
    a bit each), and `memory`.
    """
    vectors = Vectors.of(flags)
    bits, accumulators = vectors.bits, vectors.accumulators
    lanes = bits // 32
    integers, floats = f"<{lanes} x i32>", f"<{lanes} x float>"
    features = []
    found = []

    def add(name: str, vector: str, declared: str, step: Callable, products: int) -> None:
        text = _text(name, vector, accumulators, declared, step, cpu, bits, features)
        found.append(Loop(name, text, accumulators * products))

    if "fma" in flags or "asimd" in flags:
        add(
            "float",
            floats,
            f"declare {floats} @llvm.fma.v{lanes}f32({floats}, {floats}, {floats})",
            lambda new, old: [
                f"{new} = call {floats} @llvm.fma.v{lanes}f32"
                f"({floats} %x, {floats} %x, {floats} {old})"
            ],
            lanes,
        )
    if "avx512_bf16" in flags:
        features = ["+avx512bf16"]
        pairs = f"<{2 * lanes} x bfloat>"
        pair_dot = f"@llvm.x86.avx512bf16.dpbf16ps.{bits}"
        add(
            "bfloat16",
            floats,
            f"declare {floats} {pair_dot}({floats}, {pairs}, {pairs})",
            lambda new, old: [
                f"{new}.x = bitcast {floats} %x to {pairs}",
                f"{new} = call {floats} {pair_dot}"
                f"({floats} {old}, {pairs} {new}.x, {pairs} {new}.x)",
            ],
            lanes * 2,
        )
        features = []
    if "avx512_vnni" in flags or "avx_vnni" in flags:
        features = [] if "avx512_vnni" in flags else ["+avxvnni"]
        dot = f"@llvm.x86.avx512.vpdpbusd.{bits}"
        add(
            "integer",
            integers,
            f"declare {integers} {dot}({integers}, {integers}, {integers})",
            lambda new, old: [
                f"{new} = call {integers} {dot}({integers} {old}, {integers} %x, {integers} %x)"
            ],
            lanes * 4,
        )
    if "avx512_vpopcntdq" in flags:
        features = ["+avx512vpopcntdq"]
        popcount = f"@llvm.ctpop.v{lanes}i32"
        add(
            "bits",
            integers,
            f"declare {integers} {popcount}({integers})",
            # What is compared with is the sum, so that no round is as the one before.
            lambda new, old: [
                f"{new}.x = xor {integers} {old}, %x",
                f"{new}.c = call {integers} {popcount}({integers} {new}.x)",
                f"{new} = add {integers} {old}, {new}.c",
            ],
            lanes * 32,
        )
    features = []
    size = bits // 8
    add(
        "memory",
        integers,
        "",
        lambda new, old: [
            f"{new}.o = add i64 %byte, {size * int(old.removeprefix('%a'))}",
            f"{new}.p = getelementptr i8, ptr %memory, i64 {new}.o",
            f"{new}.v = load {integers}, ptr {new}.p, align {size}",
            f"{new} = or {integers} {old}, {new}.v",
        ],
        size,
    )
    return found


def _text(name, vector, accumulators, declared, step, cpu, bits, features) -> str:
    """The IR of a loop; `step` makes the lines of one accumulator, from its old name to its new.

    The arguments are in TVM's 16-byte values, a number 8 bytes into each. The accumulators begin
    unlike each other, at numbers that are not known before, and are all written in the end: nothing
    can be left out.
    """
    lanes, element = vector.strip("<>").split(" x ")
    all_lanes = f"<{lanes} x i32> zeroinitializer"
    number = "sitofp i64 %{} to float" if element == "float" else "trunc i64 %{} to i32"

    def spread(to: str, of: str) -> list[str]:
        return [
            f"%{to}.n = {number.format(of)}",
            f"%{to}.e = insertelement {vector} undef, {element} %{to}.n, i32 0",
            f"%{to} = shufflevector {vector} %{to}.e, {vector} undef, {all_lanes}",
        ]

    every = range(accumulators)
    stride = accumulators * bits // 8
    lines = [
        f"define i32 @{_PREFIX}{name}(ptr %self, ptr %arguments, i32 %n, ptr %result) #0 {{",
        "entry:",
        "%first = getelementptr i8, ptr %arguments, i64 8",
        "%rounds = load i64, ptr %first",
        "%second = getelementptr i8, ptr %arguments, i64 24",
        "%address = load i64, ptr %second",
        "%memory = inttoptr i64 %address to ptr",
        f"%kept = alloca {vector}",
        *spread("x", "rounds"),
    ]
    for index in every:
        lines += [f"%k{index} = add i64 %rounds, {index}", *spread(f"s{index}", f"k{index}")]
    lines += ["br label %loop", "loop:", "%i = phi i64 [ 0, %entry ], [ %next, %loop ]"]
    lines += [f"%a{i} = phi {vector} [ %s{i}, %entry ], [ %b{i}, %loop ]" for i in every]
    lines.append(f"%byte = mul i64 %i, {stride}")
    for index in every:
        lines += step(f"%b{index}", f"%a{index}")
    lines += [
        "%next = add i64 %i, 1",
        "%again = icmp slt i64 %next, %rounds",
        "br i1 %again, label %loop, label %end",
        "end:",
        *(f"store volatile {vector} %b{index}, ptr %kept" for index in every),
        "ret i32 0",
        "}",
        declared,
        f'attributes #0 = {{ "target-cpu"="{cpu}" "target-features"="{",".join(features)}" '
        f'"min-legal-vector-width"="{bits}" "prefer-vector-width"="{bits}" }}',
    ]
    return "\n".join(lines) + "\n"
