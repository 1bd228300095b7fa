"""Planes: activations of few bits as bit planes, where the target's kernels are faster on them.

A convolution writes planes where nothing reads its output but convolutions of planes and additions
to their sums; what others read as well stays bytes, of which planes are made.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.kernels import conv2d_planes, thresholds
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.kernels.packing import LANES, unpack_integer

_RESIDUAL = 6  # the place of a residual among the arguments
# with more, comparing takes longer than multiplying and shifting
_MOST_LEVELS = 3
_MOST_RESIDUAL_PLANES = 2


def in_planes(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """Return the module with planes where they pay for the target."""
    function = graph.main_of(mod)
    layouts = _Layouts.of(function, target)
    if not layouts.convolutions:
        return mod
    builder = relax.BlockBuilder()
    (image,) = function.params
    variables = {image: image}
    made: dict[relax.Var, relax.Expr] = {}

    def in_planes_of(var: relax.Var, bits: int) -> relax.Expr:
        if var not in layouts.native and var not in made:
            made[var] = builder.emit(op.call("planes", [variables[var]], {"bits": bits}))
        return made.get(var, variables[var])

    with builder.function("main", [image]):
        with builder.dataflow():
            for binding in graph.bindings(function):
                value = graph.replace(binding.value, variables)
                if op.is_call(value, "bitsweep.qconv2d"):
                    if binding.var in layouts.convolutions:
                        read = binding.value
                        data = in_planes_of(read.args[0], read.attrs["input_bits"])
                        value = _of_planes(value, data, op.geometry(read))
                    value = _between_planes(value, binding, layouts.native)
                variables[binding.var] = builder.emit(value)
            result = builder.emit_output(graph.replace(function.body.body, variables))
        builder.emit_func_output(result)
    return tvm.ir.IRModule({"main": builder.finalize()["main"]}, attrs=mod.attrs)


@dataclass
class _Layouts:
    """The convolutions that compute on planes, and the planes of tensors that are made as such."""

    convolutions: set[relax.Var] = field(default_factory=set)
    native: dict[relax.Var, int] = field(default_factory=dict)

    @staticmethod
    def of(function: relax.Function, target: tvm.target.Target) -> "_Layouts":
        layouts = _Layouts()
        readers: dict[relax.Var, list[tuple[relax.Var | None, int]]] = defaultdict(list)
        calls = {}
        for binding in graph.bindings(function):
            value = binding.value
            if op.is_call(value, "bitsweep.qconv2d"):
                calls[binding.var] = value
                if _pays(value, target):
                    layouts.convolutions.add(binding.var)
                for place, argument in enumerate(value.args):
                    if isinstance(argument, relax.Var):
                        readers[argument].append((binding.var, place))
            else:
                for var in graph.variables(value):
                    readers[var].append((None, 0))
        for var in graph.variables(function.body.body):
            readers[var].append((None, 0))

        def takes_planes(reader: relax.Var | None, place: int) -> bool:
            if place == _RESIDUAL:
                return _is_aligned(calls[reader])
            return reader in layouts.convolutions

        for var, call in calls.items():
            bits = {
                calls[reader].attrs["input_bits"]
                for reader, place in readers[var]
                if place == 0 and reader in layouts.convolutions
            }
            if bits and all(takes_planes(*by) for by in readers[var]) and _writes_planes(call):
                (layouts.native[var],) = bits
        for var, call in calls.items():
            # what is only added to sums that become planes: thresholds take it as planes
            added = [
                reader
                for reader, place in readers[var]
                if place == _RESIDUAL and reader in layouts.native
            ]
            bits = max(call.attrs["clip_max"].bit_length(), 1)
            if (
                len(added) == len(readers[var]) > 0
                and bits <= _MOST_RESIDUAL_PLANES
                and _writes_planes(call)
            ):
                layouts.native[var] = bits
        return layouts


def _pays(call: relax.Expr, target: tvm.target.Target) -> bool:
    attrs, conv = op.attributes(call), op.geometry(call)
    if attrs.get("input_planes"):  # already
        return False
    bits = attrs["weight_bits"], attrs.get("input_bits", 8)
    return conv2d_planes.serves(conv, *bits, target) and conv2d_planes.pays(conv, *bits, target)


def _writes_planes(call: relax.Expr) -> bool:
    return call.attrs["out_dtype"] == "uint8" and _is_aligned(call)


def _is_aligned(call: relax.Expr) -> bool:
    """Whether the 16 channels of an output's vector are a half of a word of planes."""
    conv = op.geometry(call)
    return conv.groups == 1 or conv.depthwise or conv.outputs_per_group % LANES == 0


def _of_planes(call: relax.Expr, data: relax.Expr, conv: Conv2D) -> relax.Expr:
    """The convolution with `data`, planes; its weights are to be packed as such."""
    attrs = op.attributes(call)
    weight, bias = (graph.array(argument) for argument in call.args[1:3])
    if attrs["packed"]:
        bits = attrs["weight_bits"]
        weight = unpack_integer(weight, conv.joined(bits).weight_shape, bits, conv.groups)
        weight = weight.reshape(conv.weight_shape)
    attrs |= {"packed": False, "input_planes": attrs["input_bits"], "in_channels": conv.in_channels}
    bias = conv2d_planes.bias_of_counts(bias, weight, attrs["weight_bits"], attrs["input_bits"])
    arguments = [data, relax.const(weight), relax.const(bias), *call.args[3:]]
    return op.call("qconv2d", arguments, attrs)


def _between_planes(
    call: relax.Expr, binding: relax.VarBinding, native: Mapping[relax.Var, int]
) -> relax.Expr:
    """The convolution with a residual and an output as the tensors are made."""
    attrs = op.attributes(call)
    residual = binding.value.args[_RESIDUAL] if len(binding.value.args) > _RESIDUAL else None
    attrs["residual_planes"] = native.get(residual, 0)
    attrs["output_planes"] = native.get(binding.var, 0)
    arguments = list(call.args)
    if attrs["output_planes"] and _is_better_compared(call, residual is not None, attrs):
        multiplier, shift, half = (graph.array(argument) for argument in arguments[3:6])
        of_residual = {}
        if residual is not None:
            values = range(2 ** attrs["residual_planes"])
            of_residual["residuals"] = [value - attrs["residual_zero_point"] for value in values]
            of_residual["residual_multiplier"] = graph.array(arguments[7])
        table = thresholds.thresholds(
            multiplier,
            shift,
            half,
            zero_point=attrs["output_zero_point"],
            clip=(attrs["clip_min"], attrs["clip_max"]),
            **of_residual,
        )
        attrs["by_thresholds"] = True
        arguments = [*arguments[:3], relax.const(table), *arguments[_RESIDUAL : _RESIDUAL + 1]]
    return op.call("qconv2d", arguments, attrs)


def _is_better_compared(call: relax.Expr, has_residual: bool, attrs: Mapping) -> bool:
    planes = attrs["residual_planes"]
    levels = attrs["clip_max"] - attrs["clip_min"]
    return (
        1 <= levels <= _MOST_LEVELS
        and (not has_residual or 1 <= planes <= _MOST_RESIDUAL_PLANES)
        and not np.any(graph.array(call.args[3]) < 0)
    )
