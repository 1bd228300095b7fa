"""Which layer of the network an operator of the module is."""

import re
from dataclasses import dataclass

import onnx

from bitsweep.engines.onnxruntime import accounting

# Of weights, as the exporter and the quantizer name them, after the layer in PyTorch.
_WEIGHTS = re.compile(r"(.+)\.weight(?:_.+)?")
# What the optimiser adds to the name of a node, or of what it made.
_ADDED = re.compile(r"(?:_nchwc|_token_\d+)+$")


@dataclass(frozen=True)
class Layer:
    """A layer: PyTorch's name, if it is known, and its multiplications with accumulation."""

    name: str | None
    macs: int


def layers(model: onnx.ModelProto) -> dict[str, Layer]:
    """Return a model's layers by the names of their nodes and of what these make.

    What an activation makes belongs to the layer before it, as the optimiser names some nodes by
    that.
    """
    graph, shapes = accounting.shaped(model)
    found: dict[str, Layer] = {}
    for node in graph.node:
        if macs := accounting.macs(node, shapes):
            weights = _WEIGHTS.fullmatch(node.input[1])
            found[node.name] = found[node.output[0]] = Layer(weights and weights[1], macs)
        elif node.op_type in accounting.ACTIVATIONS and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def plain(node: str) -> str:
    """Return the name of a module's node without what the optimiser added."""
    return _ADDED.sub("", node)
