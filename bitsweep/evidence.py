"""Evidence that quantization happened, as the stage `inspect` leaves it."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bitsweep import inspection
from bitsweep.engines import packing

_LLVM_NAMES = {
    "float64": "double",
    "float32": "float",
    "float16": "half",
    "bfloat16": "bfloat",
    "bool": "i1",
    **{f"{sign}int{bits}": f"i{bits}" for bits in (1, 2, 4, 8, 16, 32, 64) for sign in ("", "u")},
}

_TARGET = re.compile(r'^target triple = "([^"]*)"|"target-cpu"="([^"]*)"', re.MULTILINE)


def write(inputs: Mapping[str, str | None], outputs: Mapping[str, str]) -> None:
    """Write `code`, JSON: data types in `llvm_ir`, instructions in `assembly`, sizes in bytes.

    A tool that shows no code has empty ones; the data types are then those of the operators that it
    runs, one each, by LLVM's names, and no instructions are known.
    `target` is what LLVM compiled for, triple and CPU, as its IR records it, else None.
    `float32` repeats the baseline's, from `baseline`, itself such a JSON; for the baseline itself
    they are its own, and None where it failed.
    """
    shown = Path(inputs["llvm_ir"]).stat().st_size > 0
    own = {
        "dtypes": inspection.count_llvm_types(Path(inputs["llvm_ir"]))
        if shown
        else _count_operators(inputs["objects"]),
        "instructions": inspection.count_instructions(Path(inputs["assembly"])) if shown else None,
        "sizes": {
            f"{name}_bytes": Path(inputs[name]).stat().st_size
            for name in ("ir", "params", "llvm_ir", "assembly", "objects", "module")
        },
    }
    if "baseline" not in inputs:
        float32 = own
    elif inputs["baseline"] is None:
        float32 = None
    else:
        float32 = {key: json.loads(Path(inputs["baseline"]).read_text())[key] for key in own}
    target = _target(Path(inputs["llvm_ir"])) if shown else None
    Path(outputs["code"]).write_text(
        json.dumps({"target": target, **own, "float32": float32}, indent=2) + "\n"
    )


def _count_operators(objects: str) -> dict[str, int]:
    counts = Counter(_LLVM_NAMES[one["dtype"]] for one in packing.operators(objects))
    return {name: counts[name] for name in inspection.LLVM_TYPES}


def _target(llvm_ir: Path) -> str:
    found = _TARGET.findall(llvm_ir.read_text(encoding="utf-8"))
    triples, cpus = zip(("", ""), *found, strict=True)
    return " ".join(next(filter(None, names), "unknown") for names in (triples, cpus))
