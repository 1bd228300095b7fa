"""Compile: Relay to object files, with the LLVM IR and the assembly they were made from."""

from pathlib import Path

import tvm
from tvm import relay

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay import ir, target
from bitsweep.engines.relay.lowering import remember_repeated_work
from bitsweep.engines.relay.tuners import applied


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the module at `ir` and `params` to `objects` (tar), `llvm_ir` and `assembly`.

    Where `settings["tuner"]` names what has tuned it, with the best that its `log` has.
    """
    remember_repeated_work()
    module, params = ir.load(inputs)
    for_target = target.resolve(settings["target"])
    best, config = applied(settings["tuner"], inputs.get("log"))
    passes = tvm.transform.PassContext(opt_level=3, config=config)
    with asking("relay.build"), for_target, best, passes:
        library = relay.build(module, target=for_target, params=params)
    with asking("Module.get_source"):
        Path(outputs["llvm_ir"]).write_text(library.get_lib().get_source("ll"))
        Path(outputs["assembly"]).write_text(library.get_lib().get_source("asm"))
    with asking("Module.export_library"):
        library.export_library(outputs["objects"])
