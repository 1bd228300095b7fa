"""Profile: what each operator of a module takes, and which layer of the network it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tvm

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay.layers import Key, Layer, assigned, layers
from bitsweep.engines.relay.operator_clock import Node, OperatorClock
from bitsweep.profile import clock
from bitsweep.profile.operators import LAYERS, Operator, kind_of

_MISSING = "the graph executor's way from one operator to the next"


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Time the operators of `module`; write `operators`.

    `ir`, which the module was compiled from, tells what its layers are, and `imported`, the float
    network, their names in PyTorch.
    """
    timed = OperatorClock(inputs["module"])
    known = layers(_load(inputs["ir"]), _load(inputs["imported"]))
    found = operators(timed.nodes, known)
    clock.profile(timed, found, settings, outputs["operators"], _MISSING)


def _load(path: str) -> tvm.IRModule:
    with asking("tvm.ir.load_json"):
        return tvm.ir.load_json(Path(path).read_text(encoding="utf-8"))


def operators(nodes: Sequence[Node], known: Mapping[Key, Sequence[Layer]]) -> list[Operator]:
    """Return what is known of each operator, whose layers are among the `known`."""
    kinds = [
        kind_of(node.name, {tensor.dtype for tensor in node.read}, node.written[0].dtype)
        for node in nodes
    ]
    found = []
    computing = [kind in LAYERS for kind in kinds]
    for node, kind, layer in zip(nodes, kinds, assigned(nodes, computing, known), strict=True):
        size = sum(tensor.size_bytes for tensor in (*node.read, *node.written))
        about = layer and {
            "layer": layer.name,
            "macs": layer.macs,
            "arithmetic": "float" if layer.is_float else "integer",
        }
        name = node.name.removeprefix("tvmgen_default_")
        found.append(Operator(name, kind, size, **(about or {})))
    return found
