"""Calibrate: the statistics of a float network's tensors that every precision's scales rest on."""

import math
from importlib import import_module

import numpy as np
import tvm
from tvm import relay
from tvm.contrib import graph_executor

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay import INPUT, ir, target
from bitsweep.engines.relay.lowering import remember_repeated_work
from bitsweep.engines.relay.percentile import Percentile
from bitsweep.engines.relay.tensors import names, tensors

# Of the module, which a function of its name hides.
_quantize = import_module("tvm.relay.quantize.quantize")


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Run the module at `ir` and `params` on the images of `calibration`; write `statistics`.

    npz: `percentile`, float32, of each float tensor's magnitudes over all images (NaN for others),
    `tensor`, what makes it, in the order of `tensors`, and `images`, their number. Every tensor is
    there, whichever a precision may mark.
    """
    remember_repeated_work()
    module, params = ir.load(inputs)
    images = np.load(inputs["calibration"])["input"]
    native = target.resolve(target.NATIVE)
    with native, tvm.transform.PassContext(opt_level=3):
        with asking("relay.quantize.prerequisite_optimize"):
            module = _quantize.prerequisite_optimize(module, params)
            main = relay.transform.InferType()(module)["main"]
        found = tensors(main)
        seen = [index for index, expr in enumerate(found) if _is_float(expr)]
        with asking("relay.build"):
            everything = relay.Tuple([found[index] for index in seen])
            library = relay.build(relay.Function(main.params, everything), target=native)
    observers = [Percentile(len(images) * _size(found[index])) for index in seen]
    with asking("graph_executor.GraphModule.run"):
        executor = graph_executor.GraphModule(library["default"](tvm.cpu()))
        for image in images:
            executor.set_input(INPUT, image[None])
            executor.run()
            for output, observer in enumerate(observers):
                observer.update(executor.get_output(output).numpy())
    percentiles = np.full(len(found), np.nan, np.float32)
    percentiles[seen] = [observer.value for observer in observers]
    np.savez(outputs["statistics"], percentile=percentiles, tensor=names(found), images=len(images))


def _is_float(expr: relay.Expr) -> bool:
    kind = expr.checked_type
    return isinstance(kind, relay.TensorType) and kind.dtype == "float32"


def _size(expr: relay.Expr) -> int:
    return math.prod(int(extent) for extent in expr.checked_type.shape)
