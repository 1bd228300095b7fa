"""Profile: what each operator of a module takes, and which layer of the network it is."""

from collections.abc import Mapping, Sequence

import onnx

from bitsweep.engines.onnxruntime.layers import layers, plain
from bitsweep.engines.onnxruntime.operator_clock import Call, OperatorClock
from bitsweep.profile import clock
from bitsweep.profile.operators import LAYERS, Operator, kind_of

_MISSING = "the session's own work: inputs checked, outputs handed over"


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Time the operators of `module`; write `operators`.

    `ir`, which the module was optimised from, tells what its layers are.
    """
    timed = OperatorClock(inputs["module"])
    known = layers(onnx.load(inputs["ir"], load_external_data=False))
    found = operators(timed.calls, known)
    clock.profile(timed, found, settings, outputs["operators"], _MISSING)


def operators(calls: Sequence[Call], known: Mapping[str, Mapping]) -> list[Operator]:
    """Return what is known of each operator, whose layers are among the `known`."""
    found = []
    for call in calls:
        kind = kind_of(call.operator.lower(), call.read, call.written)
        layer = known.get(plain(call.node)) if kind in LAYERS else None
        about = {}
        if layer:
            about = {**layer, "arithmetic": "float" if "float" in call.read[0] else "integer"}
        found.append(Operator(call.operator, kind, call.size_bytes, **about))
    return found
