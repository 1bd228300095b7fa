"""Quantize: NNCF's post-training quantization, or other floats than float32."""

import json
import shutil
from pathlib import Path

import nncf
import numpy as np
import openvino
from nncf.quantization.advanced_parameters import (
    AdvancedQuantizationParameters,
    QuantizationParameters,
)

from bitsweep.engines.openvino import hint, ir
from bitsweep.engines.openvino.accounting import coverage
from bitsweep.engines.refusal import asking


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize the model at `ir` and `params` on the images of `calibration`.

    `settings["precision"]` is None for the float baseline, whose model passes unchanged; to one of
    `floats` it is noted what it is to be compiled for.
    `coverage`, JSON, tells how much of the result is to run in integers.
    """
    model = ir.load(inputs)
    if settings["precision"] is None:
        for name in ("ir", "params", "text"):
            shutil.copyfile(inputs[name], outputs[name])
    else:
        if floats := settings["precision"]["floats"]:
            hint.note(model, floats)
        else:
            images = np.load(inputs["calibration"])["input"]
            model = _quantized(model, images, settings["precision"])
        ir.save(model, outputs)
    Path(outputs["coverage"]).write_text(json.dumps(coverage(model), indent=2) + "\n")


def _quantized(model: openvino.Model, images: np.ndarray, precision: dict) -> openvino.Model:
    # Asked for where they are not the tool's own 8 only: naming them changes what it may choose.
    bits = {
        f"{kind}s_quantization_params": QuantizationParameters(num_bits=precision[f"{kind}_bits"])
        for kind in ("activation", "weight")
        if precision[f"{kind}_bits"] != 8
    }
    with asking("nncf.quantize"):
        return nncf.quantize(
            model,
            nncf.Dataset([image[None] for image in images]),
            preset=nncf.QuantizationPreset(precision["preset"]),
            subset_size=len(images),
            fast_bias_correction=precision["fast_bias_correction"],
            advanced_parameters=AdvancedQuantizationParameters(**bits),
        )
