"""Quantize: `relay.quantize` with every field of its QConfig as the precision says."""

import json
import shutil
from pathlib import Path

import numpy as np
import tvm
from tvm import relay

from bitsweep.engines.refusal import asking_tvm
from bitsweep.engines.relay import INPUT, ir, target
from bitsweep.engines.relay.accounting import coverage

# Fields that a precision holds as bits and storage of a kind of number.
_KINDS = ("input", "weight", "activation")


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Quantize the module at `ir` and `params` on the images of `calibration`.

    `settings["precision"]` is None for the float baseline, whose module passes unchanged.
    `coverage`, JSON, tells how much of the result runs in integers.
    """
    module, params = ir.load(inputs)
    if settings["precision"] is None:
        for name in ("ir", "params", "text"):
            shutil.copyfile(inputs[name], outputs[name])
    else:
        images = np.load(inputs["calibration"])["input"]
        module = _quantize(module, params, images, settings)
        ir.save(module, outputs)
    Path(outputs["coverage"]).write_text(json.dumps(coverage(module), indent=2) + "\n")


def _quantize(module, params, images, settings) -> tvm.IRModule:
    dataset = [{INPUT: image[None]} for image in images]
    # Constant folding and calibration build for the target in scope, else for the default one.
    with target.resolve(settings["target"]), tvm.transform.PassContext(opt_level=3):
        with asking_tvm("relay.quantize.qconfig"):
            config = relay.quantize.qconfig(**qconfig_fields(settings["precision"]))
        with asking_tvm("relay.quantize.quantize"), config:
            return relay.quantize.quantize(module, params, dataset=dataset)


def qconfig_fields(precision: dict) -> dict:
    """Return the arguments of `relay.quantize.qconfig` for a precision of the config."""
    fields = {
        name: value for name, value in precision.items() if name not in ("bits", "storage", *_KINDS)
    }
    for kind in _KINDS:
        fields[f"nbit_{kind}"] = precision[kind]["bits"]
        fields[f"dtype_{kind}"] = precision[kind]["storage"]
    return fields
