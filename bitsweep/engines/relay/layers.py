"""Which operators of a compiled module are which layers of the Relay module it was made from.

TVM's names of fused functions do not tell, and it runs branches in another order than the module
has them. A layer is known by how many layers its input has gone through, by its pixels and window,
and by its size, to which TVM adds where channels do not fill a vector; layers alike in all, which
are branches of one tensor, by their order.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
from tvm import relay

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay import convolutions
from bitsweep.engines.relay.accounting import macs_of
from bitsweep.engines.relay.operator_clock import Node

Key = tuple[int, int, int]  # layers up to it, pixels of its output, elements of its window


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer; `name` is PyTorch's, None where it is unknown."""

    name: str | None
    elements: int
    macs: int
    is_float: bool


def layers(module: tvm.IRModule, imported: tvm.IRModule) -> Mapping[Key, list[Layer]]:
    """Return the layers of a module, made of `imported`, the float network, that has the names."""
    with asking("relay.transform.InferType"):
        main = relay.transform.InferType()(module)["main"]
    names = iter(convolutions.names_of(imported, module))
    found: dict[Key, list[Layer]] = defaultdict(list)
    depth: dict[relay.Expr, int] = {}

    def visit(node):
        depth[node] = max((depth.get(part, 0) for part in _parts(node)), default=0)
        if not (isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op)):
            return
        name = next(names) if node.op.name == "nn.conv2d" else ""
        macs = macs_of(node)
        if macs:
            depth[node] = depth[node.args[0]] + 1
            written, weight = (_shape(part) for part in (node, node.args[1]))
            is_float = "float" in node.args[0].checked_type.dtype
            layer = Layer(name or None, math.prod(written), macs, is_float)
            found[depth[node], _pixels(written), _pixels(weight)].append(layer)

    relay.analysis.post_order_visit(main.body, visit)
    return found


def _parts(node: relay.Expr) -> Sequence[relay.Expr]:
    if isinstance(node, relay.Call):
        return node.args
    if isinstance(node, relay.Tuple):
        return node.fields
    return [node.tuple_value] if isinstance(node, relay.TupleGetItem) else []


def _shape(expr: relay.Expr) -> tuple[int, ...]:
    return tuple(int(size) for size in expr.checked_type.shape)


def _pixels(shape: Sequence[int]) -> int:
    """Those of an image or a window: what comes after two axes of channels, whose blocks follow."""
    return math.prod(shape[2:4]) if len(shape) > 3 else 1


def assigned(
    nodes: Sequence[Node], computing: Sequence[bool], known: Mapping[Key, Sequence[Layer]]
) -> list[Layer | None]:
    """Return the layer of each operator, None for one that is none.

    `computing` tells which are layers. None is told of any where one is not among the `known`.
    """
    left = {key: list(alike) for key, alike in known.items()}
    depth: list[int] = []
    found: list[Layer | None] = []
    for node, computes in zip(nodes, computing, strict=True):
        before = [0 if source is None else depth[source] for source in node.sources]
        if not computes:
            depth.append(max(before, default=0))
            found.append(None)
            continue
        weight = _weight(node)
        if weight is None:
            return [None] * len(nodes)
        own = before[weight - 1] + 1
        written = node.written[0]
        key = own, _pixels(written.shape), _pixels(node.read[weight].shape)
        macs = written.elements * node.read[weight].elements // _channels(written.shape)
        fitting = [
            layer
            for layer in left.get(key, [])
            if layer.elements <= written.elements and layer.macs <= macs
        ]
        if not fitting:
            return [None] * len(nodes)
        layer = max(fitting, key=lambda layer: (layer.elements, layer.macs))
        left[key].remove(layer)
        found.append(layer)
        depth.append(max(own, *before))  # what is fused with it may come from deeper
    return found if not any(left.values()) else [None] * len(nodes)


def _weight(node: Node) -> int | None:
    """The place of a layer's weight in what it reads: the first constant, after its input."""
    places = range(1, len(node.sources))
    return next((place for place in places if node.sources[place] is None), None)


def _channels(shape: Sequence[int]) -> int:
    """They come second, and in the end where they are in blocks."""
    return shape[1] * (shape[4] if len(shape) > 4 else 1)
