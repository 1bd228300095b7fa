"""ONNX Runtime as an engine."""

from functools import partial

from bitsweep import tool_error
from bitsweep.engines.declared import Engine
from bitsweep.engines.onnxruntime.settings import OnnxRuntime

ENGINE = Engine(
    traced="exported",
    requirements={"packages": "requirements/onnxruntime.txt"},
    precision=OnnxRuntime,
    place=partial(
        tool_error.parse, packages=("onnxruntime", "onnx", "onnxscript", "onnx_ir", "torch")
    ),
)
