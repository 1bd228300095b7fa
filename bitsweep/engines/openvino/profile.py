"""Profile: what each operator of a module takes, and which layer of the network it is."""

from collections.abc import Mapping, Sequence

import numpy as np

from bitsweep.engines.openvino import ir
from bitsweep.engines.openvino.layers import layers
from bitsweep.engines.openvino.operator_clock import OperatorClock
from bitsweep.engines.openvino.runtime_graph import Executed
from bitsweep.profile import clock
from bitsweep.profile.operators import LAYERS, Arithmetic, Operator, kind_of

_MISSING = (
    "what the counters cut off, up to two microseconds of each operator, and the request's own work"
)


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Time the operators of `module`; write `operators`.

    `ir` and `params`, which the module was compiled from, tell what its layers are.
    """
    timed = OperatorClock(inputs["module"], np.zeros(settings["input_shape"], np.float32))
    found = operators(timed.operators, layers(ir.load(inputs)))
    clock.profile(timed, found, settings, outputs["operators"], _MISSING)


def _arithmetic(dtype: str) -> Arithmetic:
    if dtype == "bfloat16":
        return "bfloat16"
    return "float" if "float" in dtype else "integer"


def operators(executed: Sequence[Executed], known: Mapping[str, Mapping]) -> list[Operator]:
    """Return what is known of each operator, whose layers are among the `known`."""
    found = []
    for one in executed:
        kind = kind_of(one.type.lower(), one.read, one.written)
        layer = next((known[name] for name in one.made_of if name in known), None)
        about = {}
        if layer and kind in LAYERS:
            about = {**layer, "arithmetic": _arithmetic(one.dtype)}
        found.append(Operator(one.type, kind, one.size_bytes, **about))
    return found
