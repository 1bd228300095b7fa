"""Statistics of a float network's tensors: what the ranges of every precision follow from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tvm

from bitsweep.relax import graph
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.histogram import Histogram
from bitsweep.relax.machine import host
from bitsweep.relax.ranges import Observer
from bitsweep.relax.transform.calibrate import exact
from bitsweep.relax.transform.canonicalise import canonicalise

Statistics = Mapping[str, Observer]
"""By the name of its variable in the canonical module, what was seen of each float tensor.

A tensor that held a value that is not finite is missing.
"""


def observe(
    mod: tvm.IRModule, calibration_data: np.ndarray, target: tvm.target.Target | None = None
) -> Statistics:
    """Run a float module on calibration data and look at every tensor of its canonical form.

    Arguments and errors are those of `quantize`. One image is looked at after the other; memory
    does not grow with their number.
    """
    images = graph.images_of(mod, calibration_data)
    canonical = canonicalise(mod)
    evaluator = Evaluator(canonical, target or host())
    observers: dict[str, Observer] = {}
    infinite: set[str] = set()
    packed: dict = {}

    def look(name: str, value) -> None:
        if isinstance(value, np.ndarray) and value.dtype == np.float32 and name not in infinite:
            try:
                observers.setdefault(name, Observer()).update(value)
            except ValueError:
                infinite.add(name)

    def visit(binding, values):
        value = exact(evaluator, binding, values, packed)
        look(binding.var.name, value)
        return value

    (parameter,) = evaluator.function.params
    for image in images:
        look(parameter.name, image)
        evaluator.run(image, visit)
    return {name: seen for name, seen in observers.items() if name not in infinite}


def save(statistics: Statistics, path: Path | str) -> None:
    """Write statistics as npz: a row of each array per tensor."""
    observers = list(statistics.values())
    histograms = [observer.histogram for observer in observers]
    np.savez_compressed(
        path,
        name=list(statistics),
        counts=[histogram.counts for histogram in histograms],
        zeros=[histogram.zeros for histogram in histograms],
        extremes=[(histogram.low, histogram.high) for histogram in histograms],
        exponent=[histogram.exponent for histogram in histograms],
        moving=[observer.moving for observer in observers],
    )


def load(path: Path | str) -> Statistics:
    """Read what `save` wrote."""
    with np.load(path) as arrays:
        rows = zip(*(arrays[key].tolist() for key in _SCALARS), arrays["counts"], strict=True)
        return {
            name: Observer(Histogram(counts, zeros, *extremes, exponent), tuple(moving))
            for name, zeros, extremes, exponent, moving, counts in rows
        }


_SCALARS = ("name", "zeros", "extremes", "exponent", "moving")
