"""Sensitivity: what each layer costs, quantized alone."""

import json
from pathlib import Path

import numpy as np

from bitsweep import relax as quantizer
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import ir, target
from bitsweep.engines.relax.quantize import config
from bitsweep.relax import statistics


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize one layer of the module at `ir` and `params` at a time, calibrated on `calibration`.

    Writes `layers`, JSON: `quantizer.sensitivity` on the first `settings["images"]` images of
    `reference`, against PyTorch's answers.
    """
    module = ir.load(inputs)
    calibration = np.load(inputs["calibration"])["input"]
    reference = np.load(inputs["reference"])
    images, answers, labels = (
        reference[name][: settings["images"]] if name in reference else None
        for name in ("input", "output", "label")
    )
    with asking("bitsweep.relax.sensitivity"):
        layers = quantizer.sensitivity(
            module,
            config(settings["precision"]),
            calibration,
            images,
            labels,
            answers,
            target.resolve(target.NATIVE),
            statistics.load(inputs["statistics"]),
        )
    Path(outputs["layers"]).write_text(json.dumps(layers, indent=2) + "\n")
