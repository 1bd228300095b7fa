"""Compile: Relax to object files, with the LLVM IR and the assembly they were made from."""

from pathlib import Path

from bitsweep import relax as quantizer
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import ir, target


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the module at `ir` and `params` to `objects` (tar), `llvm_ir` and `assembly`."""
    module = ir.load(inputs)
    with asking("bitsweep.relax.build"):
        library = quantizer.build(module, target.resolve(settings["target"]))
    with asking("Module.inspect_source"):
        (llvm,) = (part for part in library.mod.imports if part.kind == "llvm")
        Path(outputs["llvm_ir"]).write_text(llvm.inspect_source("ll"))
        Path(outputs["assembly"]).write_text(llvm.inspect_source("asm"))
    with asking("Module.export_library"):
        library.export_library(outputs["objects"])
