"""Compile: OpenVINO's graph to a blob, for this machine."""

from pathlib import Path

import openvino

from bitsweep.engines import here
from bitsweep.engines.openvino import ir
from bitsweep.engines.openvino.executor import DEVICE, chosen
from bitsweep.engines.openvino.runtime_graph import executed
from bitsweep.engines.packing import pack
from bitsweep.engines.refusal import asking_tvm


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the model at `ir` and `params` to `objects` (tar).

    `llvm_ir` and `assembly` stay empty: the tool shows neither.
    """
    here.require(settings["target"], "openvino.Core.compile_model")
    model = ir.load(inputs)
    with asking_tvm("openvino.Core.compile_model"):
        compiled = openvino.Core().compile_model(model, DEVICE, chosen())
    with asking_tvm("openvino.CompiledModel.export_model"):
        blob = compiled.export_model().getvalue()
    operators = [
        {"name": one.name, "type": one.type, "dtype": one.dtype} for one in executed(compiled)
    ]
    pack(outputs["objects"], blob, operators)
    for name in ("llvm_ir", "assembly"):
        Path(outputs[name]).touch()
