"""The quantizer as a whole: its passes one after the other."""

import numpy as np
import tvm

from bitsweep.relax import graph, op
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.machine import host
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
) -> tvm.IRModule:
    """Return the module in integers, float at its two ends and in operators that stay float.

    `mod` has a function `main` of one float32 tensor, its weights bound as constants.
    `calibration_data` is float32 (N, …), its items of main's input's shape without the batch.
    `target` is what calibration runs on, this machine by default; the result does not depend on it
    but by the rounding of float sums.

    Raises `ValueError` for calibration data that is empty, not finite or of another shape; for a
    module that has nothing to quantize; for a skipped layer that it does not have; and where 32
    bits do not hold an accumulator.
    """
    return pack(realise(simulate(mod, config, calibration_data, target)))


def simulate(
    mod: tvm.IRModule,
    config: QConfig,
    calibration_data: np.ndarray,
    target: tvm.target.Target | None = None,
) -> tvm.IRModule:
    """What `quantize` makes, still in floats: rounded to the values that the integers stand for."""
    images = checked(graph.main_of(mod), calibration_data)
    annotated = annotate(canonicalise(mod), config)
    evaluator = Evaluator(annotated, target or host())
    calibrated = calibrate(annotated, config, images, evaluator)
    return round_weights(calibrated, config, images, evaluator)


def checked(function, data: np.ndarray) -> list[np.ndarray]:
    """Calibration data as inputs of the function, one an item; `ValueError` if it cannot be."""
    (parameter,) = function.params
    batch, *shape = op.shape_of(parameter)
    data = np.asarray(data)
    if batch != 1:
        raise ValueError(f"the module takes {batch} images at once: quantize it for one")
    if data.ndim == 0 or len(data) == 0:
        raise ValueError("the calibration set is empty")
    if data.shape[1:] != tuple(shape):
        raise ValueError(
            f"calibration images are of shape {data.shape[1:]}, the module takes {tuple(shape)}"
        )
    if not np.issubdtype(data.dtype, np.floating):
        raise ValueError(f"calibration images are {data.dtype}, not float32")
    if not np.all(np.isfinite(data)):
        raise ValueError("the calibration set has NaN or infinities")
    return list(data.astype(np.float32, copy=False)[:, None])
