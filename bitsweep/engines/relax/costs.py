"""Costs: what each layer costs at each number of bits, in error and in bytes."""

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

    Writes `costs`, JSON: how many `images` were looked at, of `selection` the first
    `settings["search"]["images"]`, and `layers`, as `quantizer.layer_costs` has them.
    """
    search = settings["search"]
    module = ir.load(inputs)
    calibration = np.load(inputs["calibration"])["input"]
    images = np.load(inputs["selection"])["input"][: search["images"]]
    with asking("bitsweep.relax.layer_costs"):
        layers = quantizer.layer_costs(
            module,
            config(search["settings"]),
            search["weight_bits"],
            search["input_bits"],
            calibration,
            images,
            target.resolve(target.NATIVE),
            statistics.load(inputs["statistics"]),
        )
    found = {"images": len(images), "layers": layers}
    Path(outputs["costs"]).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")
