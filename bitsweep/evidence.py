"""Evidence that quantization happened, as the stage `inspect` leaves it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from bitsweep import inspection

_TARGET = re.compile(r'^target triple = "([^"]*)"|"target-cpu"="([^"]*)"', re.MULTILINE)


def write(inputs: Mapping[str, str | None], outputs: Mapping[str, str]) -> None:
    """Write `code`, JSON: data types in `llvm_ir`, instructions in `assembly`, sizes in bytes.

    `target` is what LLVM compiled for, triple and CPU, as its IR records it.
    `float32` repeats the baseline's, from `baseline`, itself such a JSON; for the baseline itself
    they are its own, and None where it failed.
    """
    own = {
        "dtypes": inspection.count_llvm_types(Path(inputs["llvm_ir"])),
        "instructions": inspection.count_instructions(Path(inputs["assembly"])),
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
    Path(outputs["code"]).write_text(
        json.dumps(
            {"target": _target(Path(inputs["llvm_ir"])), **own, "float32": float32}, indent=2
        )
        + "\n"
    )


def _target(llvm_ir: Path) -> str:
    found = _TARGET.findall(llvm_ir.read_text(encoding="utf-8"))
    triples, cpus = zip(("", ""), *found, strict=True)
    return " ".join(next(filter(None, names), "unknown") for names in (triples, cpus))
