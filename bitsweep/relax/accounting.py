"""What of a module runs in integers, and of how many bits."""

from collections import Counter

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.transform.annotate import MOVES

_LAYERS = ("bitsweep.conv2d", "bitsweep.qconv2d")
_ATTENTIONS = ("bitsweep.attention", "bitsweep.qattention")
_FLOAT_BITS = {"float32": 32, "bfloat16": 16}

# Neither arithmetic nor, where the two ends of integers are, avoidable.
_NOT_COUNTED = {*MOVES, "relax.quantize", "relax.dequantize", "relax.concat", "relax.take"}


def coverage(mod: tvm.IRModule) -> dict:
    """Return `macs`, `integer_macs`, `float_operators` and `mean_weight_bits`.

    Multiply-accumulates are those of convolutions, attention and matrix products, padding included;
    `float_operators` says how many of each operator stay float. Bits are per weight of all layers,
    32 of a float32 layer; None where the module has no layer that `canonicalise` has made.
    """
    macs = integer_macs = weights = weight_bits = 0
    float_operators: Counter[str] = Counter()
    for binding in graph.bindings(graph.main_of(mod)):
        call = binding.value
        if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op):
            continue
        count = macs_of(call)
        macs += count
        if call.op.name in _LAYERS:
            weights += layer_weights(call)
            weight_bits += layer_weights(call) * _weight_bits(call)
        if call.op.name.startswith("bitsweep.q"):
            integer_macs += count
        elif call.op.name not in _NOT_COUNTED and _is_float(binding.var):
            float_operators[call.op.name.removeprefix("relax.").removeprefix("bitsweep.")] += 1
    return {
        "macs": macs,
        "integer_macs": integer_macs,
        "float_operators": dict(sorted(float_operators.items())),
        "mean_weight_bits": weight_bits / weights if weights else None,
    }


def macs_of(call) -> int:
    """Multiply-accumulates of a convolution of `op` or of a matrix product, 0 of another call."""
    if not isinstance(call.op, tvm.ir.Op):
        return 0
    if call.op.name in _LAYERS:
        return layer_macs(call)
    if call.op.name in _ATTENTIONS:
        return op.attention_geometry(call).macs
    if call.op.name == "relax.matmul":
        return int(np.prod(op.shape_of(call))) * op.shape_of(call.args[0])[-1]
    return 0


def layer_macs(call) -> int:
    """Multiply-accumulates of a convolution of `op`, float or integer."""
    _, *pixels, _ = op.shape_of(call)
    return int(np.prod(pixels)) * layer_weights(call)


def layer_weights(call) -> int:
    """Weights of a convolution of `op`, float or integer, packed or not."""
    attrs = call.attrs
    outputs, inputs = op.shape_of(call)[3], op.shape_of(call.args[0])[3]
    window = [int(size) for size in attrs["kernel_size"]]
    return int(np.prod(window)) * inputs // attrs["groups"] * outputs


def _weight_bits(call) -> int:
    """Bits of a weight of a convolution of `op`, also of one that is but annotated."""
    attrs = op.attributes(call)
    return attrs["weight_bits"] if "weight_bits" in attrs else _FLOAT_BITS[_dtype(call.args[1])]


def layer_bytes(mod: tvm.IRModule) -> dict[str, int]:
    """The bytes of the constants of each layer of a packed module, by name.

    Those are its weights, its bias and what its sums are multiplied by, also where that is an
    operator of its own.
    """
    sizes: dict[str, int] = {}
    names: dict[relax.Var, str] = {}
    for binding in graph.bindings(graph.main_of(mod)):
        call = binding.value
        if op.is_call(call, "bitsweep.conv2d") or op.is_call(call, "bitsweep.qconv2d"):
            name = names[binding.var] = call.attrs["name"]
        elif op.is_call(call, "relax.dequantize") and call.args[0] in names:
            name = names[call.args[0]]
        else:
            continue
        constants = [graph.array(argument) for argument in call.args]
        size = sum(array.nbytes for array in constants if array is not None)
        sizes[name] = sizes.get(name, 0) + size
    return sizes


def _is_float(var) -> bool:
    return hasattr(var.ty, "dtype") and "float" in _dtype(var)


def _dtype(expr) -> str:
    return str(expr.ty.dtype)
