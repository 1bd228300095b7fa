"""Profile: what each operator of a module takes, and which layer of the network it is."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tvm

import bitsweep.relax.op  # noqa: F401  (a module with our operators needs them registered)
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import MAIN
from bitsweep.engines.relax.operator_clock import Call, OperatorClock
from bitsweep.profile import clock
from bitsweep.profile.operators import LAYERS, Operator, kind_of
from bitsweep.relax import graph, op
from bitsweep.relax.accounting import macs_of

_MISSING = "the virtual machine's own work: tensors allocated, shapes checked"
_OF_PLANES = "uint16"  # halves of the words that bit planes lie in


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Time the operators of `module`; write `operators`.

    `ir`, which the module was compiled from, tells what its layers are.
    """
    timed = OperatorClock(inputs["module"], np.zeros(settings["input_shape"], np.float32))
    with asking("tvm.ir.load_json"):
        module = tvm.ir.load_json(Path(inputs["ir"]).read_text(encoding="utf-8"))
    layers = [
        binding.value
        for binding in graph.bindings(module[MAIN])
        if isinstance(binding.value, tvm.ir.Call) and macs_of(binding.value)
    ]
    clock.profile(timed, operators(timed.calls, layers), settings, outputs["operators"], _MISSING)


def operators(calls: Sequence[Call], layers: Sequence[tvm.ir.Call]) -> list[Operator]:
    """Return what is known of each operator, each layer being the next of `layers`.

    Where these do not fit, nothing is known of layers but that they are.
    """
    kinds = [kind_of(call.kernel, set(call.dtypes[:-1]), call.dtypes[-1]) for call in calls]
    own = [call for call, kind in zip(calls, kinds, strict=True) if kind in LAYERS]
    fit = len(own) == len(layers) and all(map(_fits, own, layers))
    known = iter(layers if fit else [])
    found = []
    for call, kind in zip(calls, kinds, strict=True):
        layer = next(known, None) if kind in LAYERS else None
        about = {} if layer is None else _about(call, layer)
        found.append(
            Operator(**{"name": call.kernel, "kind": kind, "bytes": call.size_bytes} | about)
        )
    return found


def _fits(call: Call, layer: tvm.ir.Call) -> bool:
    """Whether a kernel writes a layer's output: all of it, or, as bit planes, of all its pixels."""
    written, shape = call.shapes[-1], op.shape_of(layer)
    if call.dtypes[-1] == _OF_PLANES:
        return written[1:-1] == shape[:-1]
    return math.prod(written) == math.prod(shape)


def _about(call: Call, layer: tvm.ir.Call) -> dict:
    attrs = op.attributes(layer) if layer.attrs else {}
    macs = macs_of(layer)
    # A convolution of one pixel.
    about = {"macs": macs, "layer": attrs.get("name")}
    if all(extent == 1 for extent in op.shape_of(layer)[1:-1]):
        about["kind"] = "dense"
    if "bfloat16" in call.dtypes[:2]:  # the weight's, at the least
        return about | {"arithmetic": "bfloat16"}
    if "float" in call.dtypes[0]:
        return about | {"arithmetic": "float"}
    if call.dtypes[0] != _OF_PLANES:
        return about | {"arithmetic": "integer"}
    planes = call.shapes[0][0] * attrs["weight_bits"]
    return about | {"arithmetic": "bits", "bit_products": macs * planes}
