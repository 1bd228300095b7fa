"""How much of an OpenVINO model is to run in integers."""

import math
from collections import Counter

import openvino

GROUPED = "GroupConvolution"
LAYERS = ("Convolution", GROUPED, "MatMul")
_IDLE = ("Constant", "Parameter", "Result", "FakeQuantize")
# What keeps values as they are, and what is fused with the operator before.
_PASSING = ("MaxPool", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat")
_FUSED = ("Add", "Relu", "Clamp")


def coverage(model: openvino.Model) -> dict:
    """Count multiplications with accumulation of one image, and of those the ones of integers.

    An operator is one of integers whose tensors are all quantized just before it, weights being
    stored as integers: the tool then has a kernel take them. Returns `macs`, `integer_macs`, and
    `float_operators`: how many calls, by name, are of floats.
    """
    constant: dict[str, bool] = {}  # by node: whether it is of integers
    quantized: set[str] = set()
    integer: set[str] = set()
    counts: Counter[str] = Counter()
    floats: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        name, kind = node.get_name(), node.get_type_name()
        sources = [value.get_source_output().get_node() for value in node.inputs()]
        if kind == "Constant" or (sources and all(s.get_name() in constant for s in sources)):
            constant[name] = (kind == "Constant" and node.get_element_type().bitwidth <= 8) or any(
                constant[source.get_name()] for source in sources
            )
            continue
        tensors = [source.get_name() for source in sources if source.get_name() not in constant]
        weights = [constant[s.get_name()] for s in sources if s.get_name() in constant]
        if kind == "FakeQuantize" or (kind in _PASSING and quantized.issuperset(tensors)):
            quantized.add(name)
        if kind in _IDLE:
            continue
        own = macs(node)
        known = quantized | integer if kind in _FUSED else quantized
        if tensors and known.issuperset(tensors) and (not own or all(weights)):
            integer.add(name)
        else:
            floats[kind] += 1
        counts["macs"] += own
        counts["integer_macs"] += own * (name in integer)
    return {
        "macs": counts["macs"],
        "integer_macs": counts["integer_macs"],
        "float_operators": dict(sorted(floats.items())),
    }


def macs(node: openvino.Node) -> int:
    """Return the multiplications with accumulation of an operator."""
    kind = node.get_type_name()
    if kind not in LAYERS:
        return 0
    elements = math.prod(node.get_output_shape(0))
    if kind == "MatMul":
        shape = node.get_input_shape(0)
        return elements * shape[-2 if node.get_attributes()["transpose_a"] else -1]
    # Weights are (outputs, inputs, …), with the groups before them where there are any.
    skipped = 2 if kind == GROUPED else 1
    return elements * math.prod(node.get_input_shape(1)[skipped:])
