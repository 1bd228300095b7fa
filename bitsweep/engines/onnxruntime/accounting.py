"""How much of an ONNX model is to run in integers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
# What the tool has kernels of integers for, and their biases: fewer bits it turns into floats.
_COMPUTED = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32)
ACTIVATIONS = ("Relu", "Clip")  # which the tool fuses with the operator before


def coverage(model: onnx.ModelProto) -> dict:
    """Count multiplications with accumulation of one image, and of those the ones of integers.

    An operator is one of integers whose tensors are all dequantized just before it: the tool then
    has a kernel take the integers. Returns `macs`, `integer_macs`, and `float_operators`: how many
    calls, by name, are of floats.
    """
    graph, shapes = shaped(model)
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    dequantized: set[str] = set()
    integer: set[str] = set()
    counts: Counter[str] = Counter()
    floats: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and types[node.input[2]] in _COMPUTED:
            dequantized.update(node.output)
        if node.op_type in QUANTIZING:
            continue
        tensors = [name for name in node.input if name and name not in types]
        known = integer if node.op_type in ACTIVATIONS else dequantized
        if tensors and all(name in known or name in dequantized for name in tensors):
            integer.update(node.output)
        else:
            floats[node.op_type] += 1
        own = macs(node, shapes)
        counts["macs"] += own
        counts["integer_macs"] += own * (node.output[0] in integer)
    return {
        "macs": counts["macs"],
        "integer_macs": counts["integer_macs"],
        "float_operators": dict(sorted(floats.items())),
    }


def shaped(model: onnx.ModelProto) -> tuple[onnx.GraphProto, dict[str, list[int]]]:
    """Return a model's graph, and the shapes of its tensors by their names."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {info.name: _shape(info) for info in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    _carry(shapes, graph.node)
    return graph, shapes


def _carry(shapes: dict[str, list[int]], nodes: Sequence[onnx.NodeProto]) -> None:
    """Give both ends of what quantizes the shape of one: inference does not, for 4 bits."""
    edges = [(node.input[0], node.output[0]) for node in nodes if node.op_type in QUANTIZING]
    for known, unknown in (*edges, *((end, start) for start, end in reversed(edges))):
        if known in shapes:
            shapes.setdefault(unknown, shapes[known])


def _shape(info: onnx.ValueInfoProto) -> list[int]:
    return [extent.dim_value for extent in info.type.tensor_type.shape.dim]


def macs(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int:
    """Return the multiplications with accumulation of an operator, of tensors of these shapes."""
    if node.op_type == "Conv":
        return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
    if node.op_type == "MatMul":
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type == "Gemm":
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else -1]
    return 0
