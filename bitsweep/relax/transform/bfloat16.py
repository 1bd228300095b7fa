"""bfloat16: the products of layers in 16 bits, their sums and all else in float32."""

import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.errors import NotQuantizable

_BFLOAT16 = "bfloat16"


def in_bfloat16(mod: tvm.IRModule) -> tvm.IRModule:
    """Return a canonical module whose layers multiply bfloat16; `NotQuantizable` without a layer.

    Their weights are rounded to nearest, ties to even. So is what they read, when it is read; it is
    bfloat16 where it is made, to the same values, if only such layers read it. Depthwise
    convolutions stay as they are, as do attention and all operators that are no layers.
    """
    function = graph.main_of(mod)
    layers = {b.var for b in graph.bindings(function) if _multiplies(b.value)}
    if not layers:
        raise NotQuantizable("the module has no layer to multiply bfloat16 in")
    only_read_by_layers = layers - _read_otherwise(function, layers)

    def change(binding: relax.VarBinding) -> relax.Expr:
        value = binding.value
        if binding.var not in layers:
            return value
        weight = relax.const(graph.array(value.args[1]), _BFLOAT16)
        attrs = op.attributes(value)
        if binding.var in only_read_by_layers:
            attrs["out_dtype"] = _BFLOAT16
        return op.call("conv2d", [value.args[0], weight, *value.args[2:]], attrs)

    return graph.rebuilt(mod, change)


def _multiplies(value: relax.Expr) -> bool:
    """Whether a value is a convolution or dense layer whose sums have more than one channel."""
    if not op.is_call(value, "bitsweep.conv2d") or graph.array(value.args[1]) is None:
        return False
    return not op.geometry(value).depthwise


def _read_otherwise(function: relax.Function, layers: set[relax.Var]) -> set[relax.Var]:
    """What is not only multiplied by layers' weights."""
    found = set(graph.variables(function.body.body))
    for binding in graph.bindings(function):
        read = graph.variables(binding.value)
        if binding.var in layers:
            read.remove(binding.value.args[0])
        found.update(read)
    return found
