"""Calibrate: the statistics of a float network's tensors that every precision's ranges rest on."""

import numpy as np

from bitsweep import relax as quantizer
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import ir, target
from bitsweep.relax import statistics


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Run the module at `ir` and `params` on the images of `calibration`; write `statistics`."""
    module = ir.load(inputs)
    images = np.load(inputs["calibration"])["input"]
    with asking("bitsweep.relax.observe"):
        observed = quantizer.observe(module, images, target.resolve(target.NATIVE))
    statistics.save(observed, outputs["statistics"])
