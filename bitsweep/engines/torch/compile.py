"""Compile: TorchScript, frozen, or what TorchInductor makes of it, for this machine."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from bitsweep.engines import here
from bitsweep.engines.packing import pack
from bitsweep.engines.refusal import asking
from bitsweep.engines.torch import inductor, ir, operators


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the module at `ir` to `objects` (tar).

    `llvm_ir` and `assembly` stay empty: the tool has neither.
    """
    here.require(settings["target"], "torch.jit.freeze")
    module, how = ir.load(inputs)
    if how.get("compiler") == "inductor":
        with tempfile.TemporaryDirectory() as folder:
            package = inductor.compiled(module, how["input_shape"], Path(folder))
            made = package.read_bytes()
            ran = [(kernel, how["floats"]) for kernel in inductor.kernels(package)]
    else:
        frozen = _frozen(module)
        made = _archive(frozen)
        recorded = operators.recorded(frozen, how["input_shape"])
        ran = [(operator.type, operator.dtype) for operator in recorded]
    pack(outputs["objects"], made, _told(ran))
    for name in ("llvm_ir", "assembly"):
        Path(outputs[name]).touch()


def _frozen(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """A module's constants folded, and with them batch norm into convolutions."""
    if not hasattr(module, "training"):  # what is quantized is frozen already
        return module
    with asking("torch.jit.freeze"):
        return torch.jit.freeze(module)


def _archive(module: torch.jit.ScriptModule) -> bytes:
    with asking("torch.jit.save"):
        torch.jit.save(module, file := io.BytesIO())
        return file.getvalue()


def _told(ran: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"name": f"{kind}_{number}", "type": kind, "dtype": dtype}
        for number, (kind, dtype) in enumerate(ran)
    ]
