"""Compile: OpenVINO's graph to a blob, for this machine."""

from pathlib import Path

import openvino

from bitsweep.engines import here
from bitsweep.engines.openvino import ir
from bitsweep.engines.openvino.executor import DEVICE, chosen
from bitsweep.engines.packing import pack
from bitsweep.engines.refusal import asking_tvm

_DTYPES = {"f": "float", "bf": "bfloat", "i": "int", "u": "uint"}
_NOT_RUN = ("Const", "Input", "Output")


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
    pack(outputs["objects"], blob, _operators(compiled.get_runtime_model()))
    for name in ("llvm_ir", "assembly"):
        Path(outputs[name]).touch()


def _operators(model: openvino.Model) -> list[dict[str, str]]:
    """The operators; the data type of one is the precision that the tool says it runs in."""
    operators = []
    for node in model.get_ordered_ops():
        told = {key: value.astype(str) for key, value in node.get_rt_info().items()}
        if told["layerType"] not in _NOT_RUN:
            operators.append(
                {
                    "name": node.get_friendly_name(),
                    "type": told["layerType"],
                    "dtype": _dtype(told["runtimePrecision"]),
                }
            )
    return operators


def _dtype(precision: str) -> str:
    """`float32` of `f32`."""
    letters = precision.rstrip("0123456789")
    return _DTYPES.get(letters, letters) + precision[len(letters) :]
