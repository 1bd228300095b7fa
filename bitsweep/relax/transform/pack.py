"""Pack: weights into the blocked layout that kernels read, below eight bits several to a byte."""

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.kernels import conv2d_bfloat16, packing
from bitsweep.relax.kernels.planes import pack_planes


def pack(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module with the constant weights of all its convolutions packed."""
    definitions = {}

    def change(binding: relax.VarBinding) -> relax.Expr:
        definitions[binding.var] = binding.value
        return packed(with_constant_weight(binding.value, definitions))

    mod = graph.rebuilt(mod, change)
    mod = relax.transform.DeadCodeElimination()(mod)
    return relax.transform.CanonicalizeBindings()(mod)


def with_constant_weight(value: relax.Expr, definitions: dict) -> relax.Expr:
    """A float convolution of a dequantized constant, with that constant's real values."""
    if not op.is_call(value, "bitsweep.conv2d"):
        return value
    weight = definitions.get(value.args[1]) if isinstance(value.args[1], relax.Var) else None
    if not op.is_call(weight, "relax.dequantize") or graph.array(weight.args[0]) is None:
        return value
    integers, scales = (graph.array(arg) for arg in weight.args[:2])
    real = integers.astype(np.float32) * scales.reshape(-1, 1, 1, 1)
    return tvm.ir.Call(value.op, [value.args[0], relax.const(real), *value.args[2:]], value.attrs)


def packed(value: relax.Expr) -> relax.Expr:
    """A convolution of constant weight with that packed; anything else as it is."""
    integer = op.is_call(value, "bitsweep.qconv2d")
    if not integer and not op.is_call(value, "bitsweep.conv2d"):
        return value
    weight = graph.array(value.args[1])
    if value.attrs["packed"] or weight is None:
        return value
    attrs = op.attributes(value) | {"packed": True}
    if attrs.get("input_planes"):
        weight = pack_planes(weight, attrs["weight_bits"], attrs["groups"])
    elif integer:
        weight = weight.reshape(op.geometry(value).joined(attrs["weight_bits"]).weight_shape)
        weight = packing.pack_integer(weight, attrs["weight_bits"], attrs["groups"])
    elif str(weight.dtype) == "bfloat16":
        weight = weight.reshape(conv2d_bfloat16.joined(op.geometry(value)).weight_shape)
        weight = packing.pack_bfloat16(weight, attrs["groups"])
    else:
        weight = packing.pack_float(weight, attrs["groups"])
    name = "qconv2d" if integer else "conv2d"
    return op.call(name, [value.args[0], relax.const(weight), *value.args[2:]], attrs)
