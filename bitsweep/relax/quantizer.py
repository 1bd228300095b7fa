"""The quantizer as a whole: its passes one after the other."""

import dataclasses

import numpy as np
import tvm

from bitsweep.relax import graph
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.machine import host
from bitsweep.relax.statistics import Statistics, observe
from bitsweep.relax.transform import bfloat16
from bitsweep.relax.transform.annotate import annotate
from bitsweep.relax.transform.calibrate import calibrate
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.pack import pack
from bitsweep.relax.transform.realise import realise
from bitsweep.relax.transform.round_weights import round_weights


def quantize(
    mod: tvm.IRModule,
    config: QConfig,
    calibration_data: np.ndarray,
    target: tvm.target.Target | None = None,
    statistics: Statistics | None = None,
) -> tvm.IRModule:
    """Return the module in integers, float at its two ends and in operators that stay float.

    `mod` has a function `main` of one float32 tensor, its weights bound as constants.
    `calibration_data` is float32 (N, …), its items of main's input's shape without the batch.
    `target` is what calibration runs on, this machine by default; the result does not depend on it
    but by the rounding of float sums. `statistics` are `observe`'s of this module on these data,
    which every configuration shares; without them they are gathered here.

    Raises `ValueError` for calibration data that is empty, not finite or of another shape, and of
    its kinds `NotQuantizable` for a module that has nothing to quantize; for a skipped layer that
    it does not have; and where 32 bits do not hold an accumulator.
    """
    return pack(realise(simulate(mod, config, calibration_data, target, statistics)))


def in_bfloat16(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module with the products of its layers in bfloat16, as the pass of this name does.

    `mod` is as of `quantize`.
    """
    return pack(bfloat16.in_bfloat16(canonicalise(mod)))


def simulate(
    mod: tvm.IRModule,
    config: QConfig,
    calibration_data: np.ndarray,
    target: tvm.target.Target | None = None,
    statistics: Statistics | None = None,
) -> tvm.IRModule:
    """What `quantize` makes, still in floats: rounded to the values that the integers stand for."""
    images = graph.images_of(mod, calibration_data)
    annotated = annotate(canonicalise(mod), config)
    if statistics is None:
        statistics = observe(mod, calibration_data, target)
    calibrated = calibrate(annotated, config, statistics)
    evaluator = Evaluator(annotated, target or host())
    return round_weights(calibrated, config, images, evaluator)


def quantize_roughly(mod: tvm.IRModule, config: QConfig, statistics: Statistics) -> tvm.IRModule:
    """What `quantize` makes but for the values of weights and biases, in a fraction of its time.

    Neither bytes nor latency depend on those.
    """
    rough = dataclasses.replace(
        config, rounding="nearest", weight_scale="max", bias_correction=False
    )
    calibrated = calibrate(annotate(canonicalise(mod), rough), rough, statistics)
    return pack(realise(round_weights(calibrated, rough, (), None)))
