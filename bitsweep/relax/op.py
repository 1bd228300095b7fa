"""The operators that Relax lacks: a fused float convolution, and arithmetic of quantized tensors.

Activations are NHWC. A quantized tensor is uint8 and stands for scale · (q − zero point). What
integer operators compute is requantized: with a 32-bit multiplier, a shift, and halves rounded up,

    q = clip(((accumulator · multiplier + half) >> shift) + zero_point, clip_min, clip_max)

in 64-bit integers, where half = 2^(shift − 1). Scalars are attributes and what is per channel is an
argument.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from bitsweep.relax.errors import NotQuantizable
from bitsweep.relax.kernels.geometry import Attention, Conv2D
from bitsweep.relax.kernels.planes import planes_shape

FLOAT_MAX = float(np.finfo(np.float32).max)
NO_CLIP = (-FLOAT_MAX, FLOAT_MAX)


def _register(name: str, arguments: Sequence[str], infer) -> None:
    tvm_ffi.get_global_func("ir.RegisterOp")(name, infer.__doc__)
    op = tvm.ir.Op.get(name)
    op.set_num_inputs(-1)
    for argument in arguments:
        op.add_argument(argument, "Tensor", "")
    tvm.ir.register_op_attr(name, "FInferType", infer)
    tvm.ir.register_op_attr(name, "FPurity", True)


def shape_of(expr: relax.Expr) -> tuple[int, ...]:
    """The static shape of a tensor; `NotQuantizable` where it is not static."""
    try:
        return tuple(int(extent) for extent in expr.ty.shape)
    except (TypeError, ValueError) as error:
        raise NotQuantizable(f"{expr}: its shape is not static") from error


def attributes(call: relax.Expr) -> dict:
    """A call's attributes as Python's numbers, strings and lists."""
    return {
        key: list(value) if isinstance(value, tvm_ffi.Array) else value
        for key, value in ((key, call.attrs[key]) for key in map(str, call.attrs.keys()))
    }


def is_call(expr: relax.Expr, name: str) -> bool:
    """Whether `expr` calls the operator `name`."""
    return isinstance(expr, tvm.ir.Call) and expr.op == tvm.ir.Op.get(name)


def is_quantized_layer(expr: relax.Expr) -> bool:
    """Whether `expr` is a float convolution annotated to run in integers."""
    return is_call(expr, "bitsweep.conv2d") and "weight_bits" in attributes(expr)


def geometry(call: relax.Expr) -> Conv2D:
    """The shape of a convolution of `op`."""
    *_, batch, height, width, channels = shape_of(call.args[0])
    attrs = attributes(call)
    return Conv2D(
        batch=batch,
        height=height,
        width=width,
        in_channels=attrs.get("in_channels", channels),
        out_channels=attrs["channels"],
        **{
            ours: tuple(attrs[theirs])
            for ours, theirs in (
                ("kernel", "kernel_size"),
                ("strides", "strides"),
                ("padding", "padding"),
                ("dilation", "dilation"),
            )
        },
        groups=attrs["groups"],
    )


def attention_geometry(call: relax.Expr) -> Attention:
    """The shape of an attention of `op`."""
    _, _, rows, channels = shape_of(call.args[0])
    attrs = attributes(call)
    return Attention(
        windows=rows // attrs["tokens"],
        tokens=attrs["tokens"],
        heads=attrs["heads"],
        size=attrs["size"],
        channels=channels,
        offsets=tuple(attrs["offsets"]),
        kinds=shape_of(call.args[1])[0] if len(call.args) > 1 else 0,
    )


def window(extent: int, size: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """How many windows of `size` fit along an axis."""
    return (extent + before + after - dilation * (size - 1) - 1) // stride + 1


def _conv_type(call, dtype: str):
    *_, batch, height, width, _ = shape_of(call.args[0])  # of planes, after their number
    attrs = call.attrs
    (kh, kw), (sh, sw), (dh, dw) = attrs["kernel_size"], attrs["strides"], attrs["dilation"]
    top, left, bottom, right = attrs["padding"]
    rows = window(height, kh, sh, top, bottom, dh)
    columns = window(width, kw, sw, left, right, dw)
    return relax.TensorType((batch, rows, columns, attrs["channels"]), dtype)


def _infer_conv2d(call, _):
    """clip(convolution + bias [+ residual]), float32 unless `out_dtype` says otherwise."""
    return _conv_type(call, attributes(call).get("out_dtype", "float32"))


def _infer_qconv2d(call, _):
    """Convolution of uint8 by integer weights, requantized, or its int32 accumulator."""
    made = _conv_type(call, call.attrs["out_dtype"])
    planes = attributes(call).get("output_planes", 0)
    if not planes:
        return made
    return _planes_type([int(extent) for extent in made.shape], planes)


def _infer_attention(call, _):
    """Self-attention, float32."""
    return relax.TensorType(attention_geometry(call).output_shape, "float32")


def _infer_qattention(call, _):
    """Self-attention of uint8, requantized."""
    return relax.TensorType(attention_geometry(call).output_shape, "uint8")


def _infer_planes(call, _):
    """Bit planes of uint8."""
    return _planes_type(shape_of(call.args[0]), call.attrs["bits"])


def _planes_type(shape, bits: int):
    return relax.TensorType(planes_shape(shape, bits), "uint16")


def _infer_first(call, _):
    """Of the shape of the first argument, uint8."""
    return relax.TensorType(call.args[0].ty.shape, "uint8")


def _infer_pool(call, _):
    """Sums over windows, requantized."""
    batch, height, width, channels = shape_of(call.args[0])
    (kh, kw), (sh, sw) = call.attrs["pool_size"], call.attrs["strides"]
    top, left, bottom, right = call.attrs["padding"]
    rows, columns = window(height, kh, sh, top, bottom), window(width, kw, sw, left, right)
    return relax.TensorType((batch, rows, columns, channels), "uint8")


def _infer_fake_quantize(call, _):
    """Rounded to what a quantized tensor can hold; the identity before calibration."""
    return call.args[0].ty


_register("bitsweep.conv2d", ("data", "weight", "bias", "residual"), _infer_conv2d)
_register(
    "bitsweep.qconv2d",
    ("data", "weight", "bias", "multiplier", "shift", "half", "residual", "residual_multiplier"),
    _infer_qconv2d,
)
_register("bitsweep.planes", ("data",), _infer_planes)
_register("bitsweep.attention", ("data", "bias", "kind"), _infer_attention)
_register("bitsweep.qattention", ("data", "bias", "kind"), _infer_qattention)
_register("bitsweep.qadd", ("a", "b"), _infer_first)
_register("bitsweep.qmultiply", ("a", "b"), _infer_first)
_register("bitsweep.qlookup", ("data", "table"), _infer_first)
_register("bitsweep.qavg_pool2d", ("data",), _infer_pool)
_register("bitsweep.fake_quantize", ("data",), _infer_fake_quantize)


def call(name: str, arguments: Sequence[relax.Expr], attrs: Mapping) -> relax.Expr:
    """Call the operator `bitsweep.{name}`.

    - `conv2d(data, weight, bias[, residual])`: float32; data (N, H, W, C), weight
      (O, KH, KW, C / groups), bias (O,), residual of the shape of the output. Attributes `name`
      (the layer's), `kernel_size`, `channels` (O), `strides`, `padding` (top, left, bottom, right),
      `dilation`, `groups`, `clip_min`, `clip_max`, `packed`: whether the weight has the layout of
      `kernels.packing`. Where the weight is bfloat16, data is rounded to it, if it is not bfloat16,
      and so is what is computed, if `out_dtype` says so; sums are float32.
    - `qconv2d(data, weight, bias, multiplier, shift, half[, residual, residual_multiplier])`: data
      uint8, weight int8 or packed, half int64 (O,), the others int32 (O,), residual uint8. Data is
      padded with `input_zero_point`, and bias holds what that zero point adds, so that the
      accumulator is bias + Σ data · weight; half holds the fraction of the bias that int32 lost,
      which a wide unit of few bits makes large. Further attributes `weight_bits`,
      `input_bits` (data is less than 2^input_bits), `residual_zero_point`,
      `output_zero_point`, `clip_min`, `clip_max` (integers), `out_dtype`. With a residual,
      (residual − residual_zero_point) · residual_multiplier joins the product before the shift.
      `out_dtype` int32 gives the accumulator and takes only data, weight and bias.
    - `qconv2d` where `transform.planes` has been, with the numbers of bit planes, 0 for bytes, in
      `input_planes`, `residual_planes` and `output_planes`, and data's channels in `in_channels`:
      with `input_planes`, data and weight have the layouts of `kernels.planes` and bias is
      `kernels.conv2d_planes.bias_of_counts`; with `by_thresholds`, the arguments are (data, weight,
      bias, thresholds[, residual]), of `kernels.thresholds`.
    - `planes(data)`: the planes of the lowest `bits` bits of uint8, as `kernels.planes` has them.
    - `attention(data[, bias, kind])`: float32; of each of W windows and each head, softmax(scale ·
      q·kᵀ + bias)·v. Data is (1, 1, W · `tokens`, C); of a token, head number h has its query, key
      and value in the `size` channels from the three `offsets` + h · `size` on. Bias is (kinds,
      `heads`, `tokens`, `tokens`), for a query and a key, and kind, int32 (W,), says which of them
      a window takes. The result is (1, 1, W · `tokens`, `heads` · `size`). Further attribute
      `scale`.
    - `qattention(data[, bias, kind])`: the same of uint8 with `input_zero_point`, bias int32, in
      float32 where it says so. In units of 2^-16 of a power of two, a score is
      rint(Σ (q − zero point) · (k − 128) · `score_scale`), within ±2^28, + bias: what it lacks of
      q · k is the same for all keys. What a score is less than the greatest of its query, n +
      g / 2^15 whole and fractional (rounded down), makes its weight: with y(g) = 32767 + (g ·
      (-22653 + (g · (7562 + (g · -1292 >> 15)) >> 15)) >> 15), it is (255 · y + half) >> (15 + n),
      with n at most 15 and half 2^(14 + n). Then out = rint(Σ weight · (v − zero point) ·
      (`value_scale` / Σ weight)) + `output_zero_point`, clipped to `clip_min`, `clip_max`; the
      factors are float32, as are all products by them.
    - `qadd(a, b)`: (a − a_zero_point) · a_multiplier + (b − b_zero_point) · b_multiplier, shifted.
    - `qmultiply(a, b)`: (a − a_zero_point) · (b − b_zero_point) requantized; b is (N, 1, 1, C) or
      of a's shape.
    - `qlookup(data, table)`: table[data], table uint8 (256,).
    - `qavg_pool2d(data)`: Σ (data − input_zero_point) over `pool_size` by `strides`, requantized;
      padded with the zero point.
    - `fake_quantize(data)`: float32 to float32; `bits`, `name`, and once calibrated `scale` and
      `zero_point`.
    """
    return tvm.ir.Call(
        tvm.ir.Op.get(f"bitsweep.{name}"), list(arguments), tvm.ir.DictAttrs(dict(attrs))
    )
