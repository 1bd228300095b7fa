"""Compile: Relax to object files, with the LLVM IR and the assembly they were made from."""

from contextlib import nullcontext
from pathlib import Path

from bitsweep import relax as quantizer
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import by_tiles, ir, target


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the module at `ir` and `params` to `objects` (tar), `llvm_ir` and `assembly`.

    Where `settings["tuner"]` names what has tuned it, with the best that its `log` has.
    """
    module = ir.load(inputs)
    for_target = target.resolve(settings["target"])
    best = by_tiles.best(inputs["log"], for_target) if settings["tuner"] else nullcontext()
    with asking("bitsweep.relax.build"), best:
        library = quantizer.build(module, for_target)
    with asking("Module.inspect_source"):
        (llvm,) = (part for part in library.mod.imports if part.kind == "llvm")
        Path(outputs["llvm_ir"]).write_text(llvm.inspect_source("ll"))
        Path(outputs["assembly"]).write_text(llvm.inspect_source("asm"))
    with asking("Module.export_library"):
        library.export_library(outputs["objects"])
