"""Compile: an ONNX model to the one that ONNX Runtime optimises it to, for this machine."""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from bitsweep.engines import here
from bitsweep.engines.onnxruntime import ir, session
from bitsweep.engines.packing import pack
from bitsweep.engines.refusal import asking

_DTYPES = {"float": "float32", "double": "float64"}  # the others are called as in numpy


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Compile the model at `ir` and `params` to `objects` (tar).

    `llvm_ir` and `assembly` stay empty: the tool has neither.
    """
    here.require(settings["target"], "onnxruntime.InferenceSession")
    model = ir.load(inputs).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        chosen = session.profiled(session.options(optimised=False), folder)
        chosen.optimized_model_filepath = str(optimised)
        opened = session.open_(model, chosen)
        pack(outputs["objects"], optimised.read_bytes(), _operators(opened))
    for name in ("llvm_ir", "assembly"):
        Path(outputs[name]).touch()


def _operators(opened: onnxruntime.InferenceSession) -> list[dict[str, str]]:
    """The operators that run, as the tool's profile has them; the data type of one is that of its
    first input."""
    (parameter,) = opened.get_inputs()
    with asking("onnxruntime.InferenceSession.run"):
        opened.run(None, {parameter.name: np.zeros(parameter.shape, np.float32)})
    return [
        {
            "name": event["name"],
            "type": event["args"]["op_name"],
            "dtype": _dtype(event["args"]["input_type_shape"]),
        }
        for event in session.kernels(opened)
    ]


def _dtype(inputs: list[dict[str, list[int]]]) -> str:
    (told,) = inputs[0]
    return _DTYPES.get(told, told.lower().removesuffix("x2"))  # `Int4x2`, of which two are a byte
