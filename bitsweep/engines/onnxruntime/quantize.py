"""Quantize: ONNX Runtime's static quantization, or its conversion to other floats."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.transformers.float16 import convert_float_to_float16

from bitsweep.engines.onnxruntime import ir
from bitsweep.engines.onnxruntime.accounting import coverage
from bitsweep.engines.refusal import asking

_TYPES = {kind.name.removeprefix("Q").lower(): kind for kind in QuantType}
_METHODS = {method.name.lower(): method for method in CalibrationMethod}


class _Images(CalibrationDataReader):
    """The images (N, C, H, W) for a network's one input, one at a time."""

    def __init__(self, name: str, images: np.ndarray):
        self._left = iter([{name: image[None]} for image in images])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize the model at `ir` and `params` on the images of `calibration`.

    `settings["precision"]` is None for the float baseline, whose model passes unchanged; one of
    `floats` needs no images.
    `coverage`, JSON, tells how much of the result is to run in integers.
    """
    model = ir.load(inputs)
    if precision := settings["precision"]:
        if precision["floats"]:
            with asking("onnxruntime.transformers.float16.convert_float_to_float16"):
                model = convert_float_to_float16(model, keep_io_types=True)
        else:
            images = np.load(inputs["calibration"])["input"]
            model = _quantized(model, images, precision)
    Path(outputs["coverage"]).write_text(json.dumps(coverage(model), indent=2) + "\n")
    ir.save(model, outputs)


def _quantized(model: onnx.ModelProto, images: np.ndarray, precision: dict) -> onnx.ModelProto:
    chosen = {
        **precision,
        "weight_type": _TYPES[precision["weight_type"]],
        "activation_type": _TYPES[precision["activation_type"]],
        "calibrate_method": _METHODS[precision["calibrate_method"]],
    }
    del chosen["floats"]
    (parameter,) = model.graph.input
    with asking("onnxruntime.quantization.quantize_static"):
        return ir.made(
            lambda model, path: quantize_static(
                model, path, _Images(parameter.name, images), **chosen
            ),
            model,
        )
