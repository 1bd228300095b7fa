"""What an engine's LLVM says of a target; alike in every TVM, and asked in the engine's process."""

import json
import os
import re
import tempfile
from pathlib import Path

import tvm
from tvm.target import codegen

from bitsweep.engines.refusal import asking

GENERIC = "generic"
_UNKNOWN = re.compile(r"^'([^']+)' is not a recognized feature", re.MULTILINE)


def describe(triple: str, cpu: str, attributes: list[str], answer: str) -> None:
    """Write JSON to `answer`: the `architectures` of this LLVM, then also the `cpus` of `triple`,
    the `features` of theirs, and which of `attributes` are `unknown` for `cpu`.

    LLVM may end the process over a triple that it does not know: then `cpus` is missing.
    """
    told = {"architectures": list(map(str, codegen.llvm_get_targets()))}
    Path(answer).write_text(json.dumps(told))
    with asking("llvm_get_cpu_archlist"):
        cpus = list(map(str, codegen.llvm_get_cpu_archlist(_target(triple, GENERIC, []))))
        features = {
            str(feature)
            for name in cpus
            for feature in codegen.llvm_get_cpu_features(_target(triple, name, []))
        }
    told |= {"cpus": [GENERIC, *cpus], "features": sorted(features), "unknown": []}
    if cpu in told["cpus"]:
        warned = _printed(lambda: codegen.llvm_get_cpu_features(_target(triple, cpu, attributes)))
        told["unknown"] = _UNKNOWN.findall(warned)
    Path(answer).write_text(json.dumps(told))


def _target(triple: str, cpu: str, attributes: list[str]) -> tvm.target.Target:
    return tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu, "mattr": attributes})


def _printed(ask) -> str:
    """What LLVM prints meanwhile: it warns of a feature that it does not know, and goes on."""
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            ask()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        file.seek(0)
        return file.read().decode(errors="replace")
