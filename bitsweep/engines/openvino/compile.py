"""Compile: OpenVINO's graph to a blob, for this machine."""

from pathlib import Path

import openvino

from bitsweep.engines import here
from bitsweep.engines.openvino import hint, ir
from bitsweep.engines.openvino.executor import DEVICE, TYPES, chosen
from bitsweep.engines.openvino.runtime_graph import executed
from bitsweep.engines.packing import pack
from bitsweep.engines.refusal import Refused, asking


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the model at `ir` and `params` to `objects` (tar).

    `llvm_ir` and `assembly` stay empty: the tool shows neither.
    """
    here.require(settings["target"], "openvino.Core.compile_model")
    model = ir.load(inputs)
    floats = hint.noted(model)
    with asking("openvino.Core.compile_model"):
        compiled = openvino.Core().compile_model(model, DEVICE, chosen(floats))
    _require(compiled, floats)
    with asking("openvino.CompiledModel.export_model"):
        blob = compiled.export_model().getvalue()
    operators = [
        {"name": one.name, "type": one.type, "dtype": one.dtype} for one in executed(compiled)
    ]
    pack(outputs["objects"], hint.joined(blob, floats), operators)
    for name in ("llvm_ir", "assembly"):
        Path(outputs[name]).touch()


def _require(compiled: openvino.CompiledModel, floats: str) -> None:
    """Raise `Refused` where the tool takes other floats than it was asked for, which it does not
    say."""
    taken = compiled.get_property(hint.HINT).to_string()
    if taken != TYPES[floats]:
        raise Refused(
            "openvino.Core.compile_model",
            "refused",
            "Precision",
            f"asked for {floats}, it computes in {taken} on this CPU",
        )
