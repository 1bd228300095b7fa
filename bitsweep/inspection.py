"""Evidence in compiled code that quantization happened: the data types and instructions in it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

LLVM_TYPES = ("half", "bfloat", "float", "double", "i1", "i2", "i4", "i8", "i16", "i32", "i64")

_DEBUG = re.compile(r"!|.*@llvm\.dbg\.|\s*#dbg_")  # metadata, and the two forms of debug records

# What may hold a type's name without being one comes first and matches with an empty group.
_LLVM_TOKEN = re.compile(
    r'"[^"\n]*"|;.*|[%@$!#][\w.$-]+|\b(half|bfloat|float|double|i(?:1|2|4|8|16|32|64))\b(?![.$:-])'
)

# Integer products summed in one instruction, bits of vectors counted (sums of products of bits),
# fused float multiply-add, and plain products.
GROUPS = {
    "int_dot": r"vpdp[bw][su]{2}ds?|v?pmaddubsw|v?pmaddwd|tdpb[su]{2}d"
    r"|[su]dot|usdot|sudot|[su]mmla|usmmla",
    "bit_count": r"vpopcnt[bwdq]|cnt",
    "float_fma": r"vfn?m(?:add|sub)\w*|v?dpbf16ps|tdp(?:bf|fp)16ps|fn?m(?:add|sub)|fml[as]"
    r"|bfdot|bfmmla",
    "int_multiply": r"v?pmul(?:l[wdq]|hu?w|hrsw|u?dq)|ml[as]|[su]mull2?|[su]mlal2?",
    "float_multiply": r"v?mul[ps][sdh]|fmul",
}
_GROUP = {group: re.compile(pattern) for group, pattern in GROUPS.items()}
_MNEMONIC = re.compile(r"^[ \t]+([a-z]\w*)", re.MULTILINE)
_READ_AT_ONCE = 1 << 20


def count_llvm_types(text_or_path: str | Path) -> dict[str, int]:
    """Count each scalar data type in LLVM IR, a vector `<16 x i8>` once as its element type.

    Reads a file for a `Path`; a `str` is the IR itself. Names, strings, comments, and debug
    information are left out. The keys are `LLVM_TYPES`, all of them.
    """
    counts: Counter[str] = Counter()
    for lines in _batches(text_or_path):
        code = "".join(line for line in lines if not _DEBUG.match(line))
        counts.update(_LLVM_TOKEN.findall(code))
    return {name: counts[name] for name in LLVM_TYPES}


def count_instructions(path: Path | str) -> dict[str, int]:
    """Count the multiplying instructions in an assembly listing (x86 or Arm, as LLVM prints it).

    The keys are `instructions` (all of them), each of `GROUPS`, and each mnemonic of a group that
    occurs. Scalar integer products are left out where the mnemonic tells: they compute addresses.
    """
    mnemonics: Counter[str] = Counter()
    for lines in _batches(Path(path)):
        mnemonics.update(_MNEMONIC.findall("".join(lines)))
    grouped = {
        group: {name: n for name, n in sorted(mnemonics.items()) if pattern.fullmatch(name)}
        for group, pattern in _GROUP.items()
    }
    totals = {group: sum(counts.values()) for group, counts in grouped.items()}
    by_mnemonic = {name: n for counts in grouped.values() for name, n in counts.items()}
    return {"instructions": mnemonics.total(), **totals, **by_mnemonic}


def _batches(text_or_path: str | Path) -> Iterator[Iterable[str]]:
    """Yield the lines of a text or file, about a megabyte of them at a time."""
    if isinstance(text_or_path, str):
        yield text_or_path.splitlines(keepends=True)
        return
    with text_or_path.open(encoding="utf-8", errors="replace") as file:
        while lines := file.readlines(_READ_AT_ONCE):
            yield lines
