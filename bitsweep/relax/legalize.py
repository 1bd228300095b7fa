"""The operators of `op` as TIR: convolutions by `kernels`, the others by tensor expressions."""

import numpy as np
import tvm
from tvm import relax, te, tirx, topi
from tvm.relax.transform.legalize_ops.common import register_legalize

from bitsweep.relax import graph, op
from bitsweep.relax.kernels import (
    attention_float,
    attention_integer,
    concat,
    conv2d_bfloat16,
    conv2d_float,
    conv2d_integer,
    conv2d_planes,
    exponential,
    layer_norm,
    planes,
)
from bitsweep.relax.kernels.packing import LANES
from bitsweep.relax.kernels.requantization import Requantization, in_words
from bitsweep.relax.kernels.thresholds import Thresholds
from bitsweep.relax.transform.pack import packed


def _call_kernel(builder, name: str, call: relax.Expr, kernel) -> relax.Expr:
    return relax.call_tir(builder.add_func(kernel, name), list(call.args), call.ty)


@register_legalize("bitsweep.conv2d")
def _conv2d(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    call = builder.normalize(packed(call))
    common = {
        "residual": len(call.args) > 3,
        "clip": (call.attrs["clip_min"], call.attrs["clip_max"]),
        "target": _target(),
    }
    read, weight = (str(argument.ty.dtype) for argument in call.args[:2])
    if weight == "bfloat16":
        kernel = conv2d_bfloat16.kernel(
            op.geometry(call), input_dtype=read, output_dtype=str(call.ty.dtype), **common
        )
        return _call_kernel(builder, "bfloat16_conv2d", call, kernel)
    return _call_kernel(builder, "conv2d", call, conv2d_float.kernel(op.geometry(call), **common))


@register_legalize("bitsweep.qconv2d")
def _qconv2d(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    call = builder.normalize(packed(call))
    attrs = op.attributes(call)
    inputs = attrs.get("input_planes", 0)
    output, arguments = _output(call, attrs)
    common = {
        "weight_bits": attrs["weight_bits"],
        "input_zero_point": attrs["input_zero_point"],
        "output": output,
        "target": _target(),
    }
    if inputs:
        kernel = conv2d_planes.kernel(op.geometry(call), input_bits=inputs, **common)
    else:
        kernel = conv2d_integer.kernel(op.geometry(call), **common)
    kernel = builder.add_func(kernel, f"qconv2d_{attrs['weight_bits']}bit")
    return relax.call_tir(kernel, arguments, call.ty)


def _output(call: relax.Expr, attrs: dict) -> tuple[Requantization | Thresholds, list[relax.Expr]]:
    """What becomes of the sums, and the kernel's arguments."""
    arguments = list(call.args)
    clip = attrs["clip_min"], attrs["clip_max"]
    planes = {
        "residual_planes": attrs.get("residual_planes", 0),
        "output_planes": attrs.get("output_planes", 0),
    }
    if attrs.get("by_thresholds"):
        return Thresholds(clip, **planes), arguments
    kinds = attrs["out_dtype"], None, attrs["output_zero_point"], clip
    if len(arguments) > 6:
        kinds = attrs["out_dtype"], attrs["residual_zero_point"], *kinds[2:]
    factors = {i: graph.array(arguments[i]) for i in _FACTORS if i < len(arguments)}
    found = None
    if factors and all(factor is not None for factor in factors.values()):
        points = {name: attrs[name] for name in ("residual_zero_point", "output_zero_point")}
        found = in_words(*factors.values(), **points)
    if found is None:
        return Requantization(*kinds, **planes), arguments
    for index, factor in zip(factors, found[0], strict=True):
        arguments[index] = relax.const(factor, str(factor.dtype))
    return Requantization(*kinds, words=found[1], **planes), arguments


_FACTORS = (3, 4, 5, 7)  # the multiplier, shift and half, and a residual's multiplier


@register_legalize("bitsweep.planes")
def _planes(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    (data,), bits = call.args, call.attrs["bits"]
    kernel = builder.add_func(planes.kernel(op.shape_of(data), bits), "planes")
    return relax.call_tir(kernel, [data, relax.const(planes.shifts(bits))], call.ty)


@register_legalize("bitsweep.attention")
def _attention(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    kernel = attention_float.kernel(op.attention_geometry(call), _target())
    scale = relax.const(np.array([call.attrs["scale"]], np.float32))
    kernel = builder.add_func(kernel, "attention")
    return relax.call_tir(kernel, [*call.args, scale], call.ty)


@register_legalize("bitsweep.qattention")
def _qattention(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    attrs = op.attributes(call)
    kernel = attention_integer.kernel(op.attention_geometry(call), _target())
    factors = np.array([attrs["score_scale"], attrs["value_scale"]], np.float32)
    names = ("input_zero_point", "output_zero_point", "clip_min", "clip_max")
    points = np.array([attrs[name] for name in names], np.int32)
    kernel = builder.add_func(kernel, "qattention")
    return relax.call_tir(kernel, [*call.args, relax.const(factors), relax.const(points)], call.ty)


def _target() -> tvm.target.Target:
    return tvm.target.Target.current(allow_none=False)


def _concat(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    """`concat` along the last axis by a kernel of ours; TVM's own for any other."""
    parts = call.args[0]
    axis = call.attrs.axis
    shape = op.shape_of(call)
    if (
        not isinstance(parts, relax.Tuple)
        or axis is None
        or int(axis) % len(shape) != len(shape) - 1
    ):
        return _TVM_CONCAT(builder, call)
    shapes = [op.shape_of(part) for part in parts.fields]
    kernel = concat.kernel(shapes, str(call.ty.dtype))
    return relax.call_tir(builder.add_func(kernel, "concat"), list(parts.fields), call.ty)


_TVM_CONCAT = tvm.ir.Op.get("relax.concat").get_attr("FLegalize")


def _layer_norm(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    """Over a last axis of whole vectors by a kernel of ours; TVM's own for any other."""
    shape, attrs = op.shape_of(call), call.attrs
    if (
        [int(axis) % len(shape) for axis in attrs.axes] != [len(shape) - 1]
        or shape[-1] % LANES
        or str(call.ty.dtype) != "float32"
        or not (attrs.center and attrs.scale)
    ):
        return _TVM_LAYER_NORM(builder, call)
    return _call_kernel(builder, "layer_norm", call, layer_norm.kernel(shape, attrs.epsilon))


_TVM_LAYER_NORM = tvm.ir.Op.get("relax.nn.layer_norm").get_attr("FLegalize")


def _of_each(name: str, function):
    """A function of each element of a float32 tensor; TVM's own of any other type."""
    tvms = tvm.ir.Op.get(f"relax.{name}").get_attr("FLegalize")

    def legalize(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
        if str(call.ty.dtype) != "float32":
            return tvms(builder, call)
        kernel = exponential.kernel(op.shape_of(call), function)
        kernel = builder.add_func(kernel, name.split(".")[-1])
        return relax.call_tir(kernel, [*call.args, relax.const(exponential.terms())], call.ty)

    return legalize


KERNELS = {
    "relax.concat": _concat,
    "relax.nn.gelu": _of_each("nn.gelu", exponential.gelu),
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.silu": _of_each("nn.silu", exponential.silu),
    "relax.sigmoid": _of_each("sigmoid", exponential.sigmoid),
}
"""What `LegalizeOps` is to do otherwise than TVM does."""


def _requantized(total, attrs: dict):
    """The integer that an int64 product comes to, as `op` says."""
    half = tirx.const(1 << (attrs["shift"] - 1), "int64")
    shifted = (total + half) >> tirx.const(attrs["shift"], "int64")
    low, high = (tirx.const(attrs[key], "int64") for key in ("clip_min", "clip_max"))
    return te.min(te.max(shifted + attrs["output_zero_point"], low), high).astype("uint8")


def _centred(value, zero_point: int):
    return value.astype("int64") - tirx.const(zero_point, "int64")


@register_legalize("bitsweep.qadd")
def _qadd(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    attrs = op.attributes(call)

    def qadd(a, b):
        def element(*index):
            first = _centred(a[index], attrs["a_zero_point"]) * attrs["a_multiplier"]
            second = _centred(b[index], attrs["b_zero_point"]) * attrs["b_multiplier"]
            return _requantized(first + second, attrs)

        return te.compute(a.shape, element, name="qadd")

    return builder.call_te(qadd, *call.args, primfunc_name_hint="qadd")


@register_legalize("bitsweep.qmultiply")
def _qmultiply(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    attrs = op.attributes(call)

    def qmultiply(a, b):
        def element(*index):
            small = [0 if extent == 1 else i for i, extent in zip(index, b.shape, strict=True)]
            product = _centred(a[index], attrs["a_zero_point"])
            product = product * _centred(b[tuple(small)], attrs["b_zero_point"])
            return _requantized(product * attrs["multiplier"], attrs)

        return te.compute(a.shape, element, name="qmultiply")

    return builder.call_te(qmultiply, *call.args, primfunc_name_hint="qmultiply")


@register_legalize("bitsweep.qlookup")
def _qlookup(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    def qlookup(data, table):
        return te.compute(
            data.shape, lambda *index: table[data[index].astype("int32")], name="qlookup"
        )

    return builder.call_te(qlookup, *call.args, primfunc_name_hint="qlookup")


@register_legalize("bitsweep.qavg_pool2d")
def _qavg_pool2d(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    attrs = op.attributes(call)
    shape = op.shape_of(call)
    (height, width), (down, right) = attrs["pool_size"], attrs["strides"]
    top, left, bottom, after = attrs["padding"]

    def qavg_pool2d(data):
        if any(attrs["padding"]):
            data = topi.nn.pad(
                data,
                [0, top, left, 0],
                [0, bottom, after, 0],
                tirx.const(attrs["input_zero_point"], "uint8"),
            )
        y, x = te.reduce_axis((0, height), "y"), te.reduce_axis((0, width), "x")
        sums = te.compute(
            shape,
            lambda n, i, j, c: te.sum(
                data[n, i * down + y, j * right + x, c].astype("int32")
                - tirx.const(attrs["input_zero_point"], "int32"),
                axis=[y, x],
            ),
            name="sums",
        )
        return te.compute(
            shape,
            lambda *index: _requantized(
                sums[index].astype("int64") * tirx.const(attrs["multiplier"], "int64"), attrs
            ),
            name="average",
        )

    return builder.call_te(qavg_pool2d, *call.args, primfunc_name_hint="qavg_pool2d")


@register_legalize("bitsweep.fake_quantize")
def _fake_quantize(builder: relax.BlockBuilder, call: relax.Expr) -> relax.Expr:
    attrs = op.attributes(call)
    if "scale" not in attrs:
        return builder.call_te(topi.identity, call.args[0], primfunc_name_hint="identity")
    scale = tirx.const(attrs["scale"], "float32")
    low, high = -attrs["zero_point"], 2 ** attrs["bits"] - 1 - attrs["zero_point"]

    def fake_quantize(data):
        def element(*index):
            steps = te.nearbyint(data[index] / scale)
            low_, high_ = (tirx.const(float(end), "float32") for end in (low, high))
            return te.min(te.max(steps, low_), high_) * scale

        return te.compute(data.shape, element, name="fake_quantize")

    return builder.call_te(fake_quantize, call.args[0], primfunc_name_hint="fake_quantize")
