"""Time layers: the milliseconds of each layer at each number of bits, within whole runs."""

import itertools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import tvm
from tvm.support import cc

from bitsweep import disturbance
from bitsweep.engines.linking import link
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import ir, target
from bitsweep.engines.relax.layer_clock import LayerClock
from bitsweep.engines.relax.quantize import config
from bitsweep.relax import graph, op, statistics
from bitsweep.relax.compiler import build, lowered
from bitsweep.relax.quantizer import quantize_roughly


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Time the module at `ir` and `params` at each of `settings["search"]["weight_bits"]`.

    Writes `times`, JSON: `layers`, the median milliseconds of each by its bits; `rest_ms`, what a
    run takes beyond its layers, the median over all widths; `whole_ms`, the median of whole runs by
    the bits that are asked of all layers; and whether other processes `disturbed` it, None where
    the machine does not tell: only where nothing did are medians of layers to be added.

    A round has, of every width in turn, a whole run and one in which layers are timed, on one
    standard-normal input. Of `rounds` there is one for each input and each run of
    `settings["benchmark"]`, as far as they keep its `budget_seconds`; the first always runs.
    """
    search, benchmark = settings["search"], settings["benchmark"]
    compiled_for = target.resolve(settings["target"])
    module, seen = ir.load(inputs), statistics.load(inputs["statistics"])
    images = _images(settings["input_shape"], benchmark)
    first = next(images)
    modules = {}
    for bits in search["weight_bits"]:
        own = config(search["settings"]).uniform(bits, max(search["input_bits"]))
        with asking("bitsweep.relax.quantize"):
            quantized = quantize_roughly(module, own, seen)
        in_layouts = lowered(quantized, compiled_for)
        layers = {
            binding.value.attrs["name"]: binding.value
            for binding in graph.bindings(graph.main_of(in_layouts))
            if op.is_call(binding.value, "bitsweep.qconv2d")
        }
        weights = {name: graph.array(layer.args[1]) for name, layer in layers.items()}
        with tempfile.TemporaryDirectory() as folder:
            clock = LayerClock(_linked(in_layouts, compiled_for, Path(folder)), weights, first)
        modules[bits] = (
            clock,
            {name: int(call.attrs["weight_bits"]) for name, call in layers.items()},
        )

    whole, layers, rest = defaultdict(list), defaultdict(lambda: defaultdict(list)), []
    before, start = disturbance.counters(), time.monotonic()
    for rounds, image in enumerate(itertools.chain([first], images), 1):
        for bits, (clock, own_bits) in modules.items():
            clock.set_input(image)
            (milliseconds,) = clock.time(1)
            taken = clock.time_layers()
            whole[bits].append(milliseconds)
            rest.append(milliseconds - sum(taken.values()))
            for name in taken:  # not every layer has the bits that are asked for
                layers[name][own_bits[name]].append(taken[name])
        spent = time.monotonic() - start
        if spent + spent / rounds > benchmark["budget_seconds"]:
            break
    during = disturbance.between(before, disturbance.counters())
    found = {
        "rounds": rounds,
        "disturbed": disturbance.is_disturbed([during]),
        "layers": {name: _medians(samples) for name, samples in layers.items()},
        "rest_ms": max(median(rest), 0.0),
        "whole_ms": _medians(whole),
    }
    Path(outputs["times"]).write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")


def _images(shape: Sequence[int], benchmark: Mapping) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(benchmark["seed"])
    for _ in range(benchmark["inputs"] * benchmark["runs"]):
        yield generator.standard_normal(shape, dtype=np.float32)


def _medians(samples: Mapping[int, Sequence[float]]) -> dict[int, float]:
    return {bits: median(milliseconds) for bits, milliseconds in samples.items()}


def _linked(module: tvm.IRModule, compiled_for: tvm.target.Target, folder: Path) -> str:
    """The path of a module's shared library, made as the stages compile and export make it."""
    paths = {"objects": str(folder / "objects.tar"), "module": str(folder / "module.so")}
    with asking("bitsweep.relax.build"):
        library = build(module, compiled_for)
    with asking("Module.export_library"):
        library.export_library(paths["objects"])
    link(paths, paths, cc)
    return paths["module"]
