"""What the stage `profile` leaves of an experiment: its operators and what each takes.

Any engine can leave it, by whatever clock it has: see `write`.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bitsweep import machine

Kind = Literal["convolution", "dense", "conversion", "layout", "pool", "elementwise", "other"]
KINDS: tuple[Kind, ...] = Kind.__args__
LAYERS: tuple[Kind, ...] = ("convolution", "dense")

Arithmetic = Literal["float", "bfloat16", "integer", "bits"]

# What a kernel's name tells, the first that it does; what is fused carries the names of its parts.
_NAMED: tuple[tuple[Kind, re.Pattern], ...] = (
    ("convolution", re.compile(r"conv")),
    ("dense", re.compile(r"dense|matmul|gemm|fullyconnected|attention")),
    ("pool", re.compile(r"pool")),
    ("conversion", re.compile(r"quantize|round")),
)
_NAMED_LATER: tuple[tuple[Kind, re.Pattern], ...] = (
    (
        "elementwise",
        re.compile(
            r"add|sub|mul|div|eltwise|relu|clip|lookup|sigmoid|tanh|silu|gelu|erf|exp|maximum|minimum"
        ),
    ),
    (
        "layout",
        re.compile(r"layout|reorder|transpose|permute|reshape|flatten|squeeze|concat|pad|slice"),
    ),
)
_HASH = re.compile(r"_[0-9a-f]{16}_")  # TVM's, for the end of a name that is too long

_NUMBER = re.compile(r"_?\d+$")


@dataclass(frozen=True)
class Operator:
    """A call of a kernel in a run of a network; `layer` is PyTorch's name, where there is one.

    `macs` are the multiplications with accumulation of one image, None where they are unknown;
    `arithmetic` what they are of: floats, bfloat16 multiplied in pairs, bytes, or bits that are
    counted, of which a product takes `bit_products`. `bytes` are those of all that is read and
    written, each tensor once.
    """

    name: str
    kind: Kind
    bytes: int
    layer: str | None = None
    macs: int | None = None
    arithmetic: Arithmetic | None = None
    bit_products: int | None = None


def kind_of(name: str, read: Collection[str], written: str) -> Kind:
    """Return the kind of a kernel, by its name and the data types of what it reads and writes.

    A conversion writes a type that it does not read, or rounds.
    """
    name = plain(name)
    for kind, pattern in _NAMED:
        if pattern.search(name):
            return kind
    if read and written not in read:
        return "conversion"
    return next((kind for kind, pattern in _NAMED_LATER if pattern.search(name)), "other")


def plain(name: str) -> str:
    """Return a kernel's name without what TVM adds to tell it from others."""
    return _NUMBER.sub("", _HASH.sub("", name)).rstrip("_")


def write(
    path: Path | str,
    operators: Sequence[Operator],
    milliseconds: Sequence[float],
    whole_ms: float,
    *,
    threads: int,
    missing: str,
    **more: object,
) -> None:
    """Write a profile, JSON: `operators`, in the order that they run in, and what a run takes.

    `milliseconds` are the operators', `whole_ms` a run's without a clock in it, medians both. What
    their sum lacks is `rest_ms`, less than 0 where the clock in between takes its time, and
    `missing` says what it is made of. `threads` are those of the run, and `more`, what else is to
    be known, the engine's.
    """
    timed = [
        asdict(operator) | {"milliseconds": taken}
        for operator, taken in zip(operators, milliseconds, strict=True)
    ]
    found = {
        "whole_ms": whole_ms,
        "sum_ms": sum(milliseconds),
        "rest_ms": whole_ms - sum(milliseconds),
        "missing": missing,
        "threads": threads,
        "cpu_model": machine.read_cpuinfo().model,
        **more,
        "operators": timed,
    }
    Path(path).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8")
