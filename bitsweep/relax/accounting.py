"""What of a module runs in integers."""

from collections import Counter

import numpy as np
import tvm

from bitsweep.relax import graph, op
from bitsweep.relax.transform.annotate import MOVES

# Neither arithmetic nor, where the two ends of integers are, avoidable.
_NOT_COUNTED = {*MOVES, "relax.quantize", "relax.dequantize", "relax.concat", "relax.take"}


def coverage(mod: tvm.IRModule) -> dict:
    """Return `macs`, `integer_macs` and `float_operators`, how many of each operator stay float.

    Multiply-accumulates are those of convolutions and matrix products, padding included.
    """
    macs = integer_macs = 0
    float_operators: Counter[str] = Counter()
    for binding in graph.bindings(graph.main_of(mod)):
        call = binding.value
        if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op):
            continue
        count = _macs(call)
        macs += count
        if call.op.name.startswith("bitsweep.q"):
            integer_macs += count
        elif call.op.name not in _NOT_COUNTED and _is_float(binding.var):
            float_operators[call.op.name.removeprefix("relax.").removeprefix("bitsweep.")] += 1
    return {
        "macs": macs,
        "integer_macs": integer_macs,
        "float_operators": dict(sorted(float_operators.items())),
    }


def layer_macs(call) -> int:
    """Multiply-accumulates of a convolution of `op`, float or integer."""
    attrs = call.attrs
    pixels = int(np.prod(op.shape_of(call)))
    channels = op.shape_of(call.args[0])[3] // attrs["groups"]
    return pixels * int(np.prod([int(size) for size in attrs["kernel_size"]])) * channels


def _macs(call) -> int:
    if call.op.name in ("bitsweep.conv2d", "bitsweep.qconv2d"):
        return layer_macs(call)
    if call.op.name == "relax.matmul":
        return int(np.prod(op.shape_of(call))) * op.shape_of(call.args[0])[-1]
    return 0


def _is_float(var) -> bool:
    return hasattr(var.ty, "dtype") and str(var.ty.dtype).startswith("float")
