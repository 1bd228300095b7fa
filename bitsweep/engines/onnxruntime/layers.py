"""Which layer of the network an operator of the module is."""

import re

import onnx

from bitsweep.engines.onnxruntime import accounting

# Of weights, as the exporter and the quantizer name them, after the layer in PyTorch.
_WEIGHTS = re.compile(r"(.+)\.weight(?:_.+)?")
# What the optimiser adds to the name of a node, or of what it made.
_ADDED = re.compile(r"^InsertedPrecisionFreeCast_|(?:_nchwc|_token_\d+)+$")


def layers(model: onnx.ModelProto) -> dict[str, dict]:
    """Return what is known of a model's layers: `layer`, PyTorch's name or None, and `macs`.

    The keys are the names of their nodes and of what these make, also by way of an activation: the
    optimiser calls some nodes by that.
    """
    graph, shapes = accounting.shaped(model)
    found: dict[str, dict] = {}
    for node in graph.node:
        if macs := accounting.macs(node, shapes):
            weights = _WEIGHTS.fullmatch(node.input[1])
            layer = {"layer": weights and weights[1], "macs": macs}
            found[node.name] = found[node.output[0]] = layer
        elif node.op_type in accounting.ACTIVATIONS and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def plain(node: str) -> str:
    """Return the name of a module's node without what the optimiser added."""
    return _ADDED.sub("", node)
