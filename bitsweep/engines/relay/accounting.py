"""How much of a Relay module runs in integers."""

import math
from collections import Counter

import tvm
from tvm import relay

_PRODUCTS = ("nn.dense", "nn.matmul", "nn.batch_matmul")


def coverage(module: tvm.IRModule) -> dict:
    """Count multiplications with accumulation of one image, and of those the ones of integers.

    Returns `macs`, `integer_macs`, and `float_operators`: how many calls, by name, take a float.
    """
    counts: Counter[str] = Counter()
    floats: Counter[str] = Counter()

    def visit(node):
        if not (isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op)):
            return
        name, integer = node.op.name, True
        if any("float" in dtype for dtype in _dtypes(node.args)):
            floats[name] += 1
            integer = False
        macs = macs_of(node)
        counts["macs"] += macs
        counts["integer_macs"] += macs * integer

    relay.analysis.post_order_visit(relay.transform.InferType()(module)["main"], visit)
    return {
        "macs": counts["macs"],
        "integer_macs": counts["integer_macs"],
        "float_operators": dict(sorted(floats.items())),
    }


def _dtypes(args) -> list[str]:
    types = (arg.checked_type for arg in args)
    return [t.dtype for t in types if isinstance(t, relay.TensorType)]


def macs_of(call: relay.Call) -> int:
    """Multiplications with accumulation of a typed call of an operator."""
    name = call.op.name
    if not hasattr(call.checked_type, "shape"):
        return 0
    elements = math.prod(int(size) for size in call.checked_type.shape)
    if name in _PRODUCTS:
        return elements * int(call.args[0].checked_type.shape[-1])
    if name.startswith("nn.conv"):  # the weight's size, less its axis of output channels
        weight = [int(size) for size in call.args[1].checked_type.shape]
        return elements * math.prod(weight) // weight[call.attrs.kernel_layout.index("O")]
    return 0
