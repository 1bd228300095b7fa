"""Quantize: this project's quantizer for Relax, with the settings that the precision has, or fewer
bits of floats."""

import json
import shutil
from pathlib import Path

import numpy as np

from bitsweep import relax as quantizer
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import ir, target
from bitsweep.relax import plan, statistics


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize the module at `ir` and `params` on the images of `calibration`.

    `statistics` are those of its tensors on them. A `plan` has bits of layers, over all others. A
    precision of `floats` needs none of these.

    `settings["precision"]` is None for the float baseline, whose module passes unchanged.
    `coverage`, JSON, tells how much of the result runs in integers.
    """
    module = ir.load(inputs)
    precision = settings["precision"]
    if precision is None:
        for name in ("ir", "params", "text"):
            shutil.copyfile(inputs[name], outputs[name])
    elif "floats" in precision:
        with asking("bitsweep.relax.in_bfloat16"):
            module = quantizer.in_bfloat16(module)
        ir.save(module, outputs)
    else:
        if "plan" in inputs:
            precision = precision | {"layer_bits": plan.read(inputs["plan"])}
        images = np.load(inputs["calibration"])["input"]
        with asking("bitsweep.relax.quantize"):
            module = quantizer.quantize(
                module,
                config(precision),
                images,
                target.resolve(target.NATIVE),
                statistics.load(inputs["statistics"]),
            )
        ir.save(module, outputs)
    Path(outputs["coverage"]).write_text(json.dumps(quantizer.coverage(module), indent=2) + "\n")


def config(precision: dict) -> quantizer.QConfig:
    """Return the settings of a precision, as they are in the config, as the quantizer's."""
    return quantizer.QConfig(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in precision.items()}
    )
