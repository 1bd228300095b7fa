"""What the integer graph means, in numpy: every binding's value, in 64-bit integers.

Written from the docstrings of `bitsweep.relax.op` and the layouts of packed weights, not from the
kernels: the compiled module is compared with this.
"""

from collections.abc import Mapping

import numpy as np
import tvm
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special
from tvm import relax

from bitsweep.relax import graph, op

# Float operators whose last bits depend on who computes them, or on the order of a sum.
INEXACT = {
    "bitsweep.attention",
    "bitsweep.conv2d",
    "relax.matmul",
    "relax.nn.avg_pool2d",
    "relax.nn.gelu",
    "relax.nn.layer_norm",
    "relax.nn.silu",
    "relax.nn.softmax",
    "relax.sigmoid",
    "relax.tanh",
    "relax.exp",
}


def interpret(
    mod: tvm.IRModule, image: np.ndarray, measured: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """The tensors of `main` by the names of their variables, in the order of its bindings.

    `measured` are the same by the compiled module: where one is of `INEXACT`, what reads it goes on
    from there, so that everything else can be compared to the bit.
    """
    function = mod["main"]
    (parameter,) = function.params
    values = {parameter: image}
    for binding in graph.bindings(function):
        var, value = binding.var, evaluate(binding.value, values)
        if isinstance(value, np.ndarray):
            assert value.shape == op.shape_of(var), var.name
            assert value.dtype == str(var.ty.dtype), var.name
        values[var] = value
        if measured and is_inexact(binding.value):
            values[var] = measured[var.name]
    del values[parameter]
    return {var.name: value for var, value in values.items() if isinstance(value, np.ndarray)}


def is_inexact(value: relax.Expr) -> bool:
    """Whether two machines may differ in the last bits of `value`."""
    return isinstance(value, tvm.ir.Call) and value.op.name in INEXACT


def evaluate(expr: relax.Expr, values: Mapping[relax.Var, np.ndarray | list]):
    """The value of an expression from those of its variables: an array, or a list for a tuple."""
    if isinstance(expr, relax.Var):
        return values[expr]
    if isinstance(expr, relax.Tuple):
        return [evaluate(field, values) for field in expr.fields]
    if isinstance(expr, relax.TupleGetItem):
        return evaluate(expr.tuple_value, values)[expr.index]
    if isinstance(expr, tvm.ir.Call):
        arguments = [evaluate(arg, values) for arg in expr.args]
        return _OPERATORS[expr.op.name](expr, *arguments)
    constant = graph.array(expr)
    if constant is not None:
        return constant
    return np.float32(expr.value) if hasattr(expr, "value") else expr


# Weights, as they are packed.


def container(bits: int) -> int:
    """Bits that a weight occupies."""
    return {1: 1, 2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 7: 8, 8: 8}[bits]


def unpacked(packed: np.ndarray, bits: int, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """Packed weights as int64 (O, KH, KW, C / groups), each looked up where the layout has it."""
    outputs, _, kw, inputs = shape
    o, y, x, c = np.indices(shape)
    size = container(bits)
    per = 8 // size
    if inputs == 1 and outputs == groups:
        step = y * kw + x
        byte = packed[o // 16, step // per, o % 16]
    else:
        step = (y * kw + x) * -(-inputs // 4) + c // 4
        group, own = np.divmod(o, outputs // groups)
        byte = packed[group, own // 16, step // per, own % 16, c % 4]
    if size == 8:
        return byte.astype(np.uint8).view(np.int8).astype(np.int64)
    code = byte.astype(np.int64) >> size * (step % per) & 2**size - 1
    assert np.all(code < 2**bits)
    return 2 * code - (2**bits - 1)


def unpacked_float(packed: np.ndarray, shape: tuple[int, ...], groups: int) -> np.ndarray:
    """Packed float weights as (O, KH, KW, C / groups)."""
    outputs, _, kw, inputs = shape
    o, y, x, c = np.indices(shape)
    if inputs == 1 and outputs == groups:
        return packed[o // 16, y * kw + x, o % 16]
    group, own = np.divmod(o, outputs // groups)
    return packed[group, own // 16, (y * kw + x) * inputs + c, own % 16]


def weight_of(call: relax.Expr, weight: np.ndarray) -> np.ndarray:
    """The weight of a convolution (O, KH, KW, C / groups), packed or not; int64 of integers."""
    attrs = op.attributes(call)
    channels = op.shape_of(call.args[0])[3]
    shape = (attrs["channels"], *map(int, attrs["kernel_size"]), channels // attrs["groups"])
    if not attrs["packed"]:
        assert weight.shape == shape
        return weight if call.op.name == "bitsweep.conv2d" else weight.astype(np.int64)
    if call.op.name == "bitsweep.conv2d":
        return unpacked_float(weight, shape, attrs["groups"])
    if joins(attrs, channels):
        outputs, down, across, inputs = shape
        joined = (outputs, down, 1, across * inputs)
        return unpacked(weight, attrs["weight_bits"], joined, 1).reshape(shape)
    return unpacked(weight, attrs["weight_bits"], shape, attrs["groups"])


def joins(attrs: dict, channels: int) -> bool:
    """Whether the taps of a row are packed as the channels of one."""
    across = int(attrs["kernel_size"][1])
    depthwise = channels == attrs["channels"] == 1
    has_zero = attrs["weight_bits"] > 4 or across * channels % 4 == 0
    if attrs["groups"] > 1 or int(attrs["dilation"][1]) > 1 or depthwise or not has_zero:
        return False
    return -(-across * channels // 4) < across * -(-channels // 4)


def windows(x: np.ndarray, size, strides, padding, dilation, fill) -> np.ndarray:
    """Windows of (N, H, W, C), (N, OH, OW, C, KH, KW), padded with `fill`."""
    top, left, bottom, right = map(int, padding)
    (kh, kw), (dy, dx) = map(int, size), map(int, dilation)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    span = (dy * (kh - 1) + 1, dx * (kw - 1) + 1)
    down, across = map(int, strides)
    views = sliding_window_view(padded, span, axis=(1, 2))
    return views[:, ::down, ::across, :, ::dy, ::dx]


def convolve(x: np.ndarray, weight: np.ndarray, attrs: dict, fill) -> np.ndarray:
    """Σ x · weight of every window, in the dtype of `weight`, without bias."""
    groups, inputs = attrs["groups"], weight.shape[3]
    outputs = len(weight) // groups
    patches = windows(
        x.astype(weight.dtype),
        attrs["kernel_size"],
        attrs["strides"],
        attrs["padding"],
        attrs["dilation"],
        fill,
    )
    parts = [
        np.einsum(
            "nyxcij,oijc->nyxo",
            patches[:, :, :, group * inputs : (group + 1) * inputs],
            weight[group * outputs : (group + 1) * outputs],
            optimize=True,
        )
        for group in range(groups)
    ]
    return np.concatenate(parts, axis=3)


def requantized(total, shift, half, zero_point: int, low: int, high: int) -> np.ndarray:
    """clip(((total + half) >> shift) + zero point), total and half int64."""
    assert total.dtype == np.int64
    shifted = total + half >> np.asarray(shift, dtype=np.int64)
    return np.clip(shifted + zero_point, low, high).astype(np.uint8)


def centred(x: np.ndarray, zero_point: int) -> np.ndarray:
    return x.astype(np.int64) - zero_point


def _qconv2d(call, x, weight, bias, multiplier=None, shift=None, half=None, *others):
    attrs = op.attributes(call)
    sums = convolve(x, weight_of(call, weight), attrs, attrs["input_zero_point"])
    accumulator = sums + bias.astype(np.int64)
    assert np.abs(accumulator).max(initial=0) < 2**31
    if attrs["out_dtype"] == "int32":
        return accumulator.astype(np.int32)
    total = accumulator * multiplier.astype(np.int64)
    assert half.dtype == np.int64
    if others:
        residual, scale = others
        total += centred(residual, attrs["residual_zero_point"]) * scale.astype(np.int64)
    ends = attrs["output_zero_point"], attrs["clip_min"], attrs["clip_max"]
    return requantized(total, shift, half, *ends)


def _qadd(call, a, b):
    attrs = op.attributes(call)
    total = centred(a, attrs["a_zero_point"]) * attrs["a_multiplier"]
    total += centred(b, attrs["b_zero_point"]) * attrs["b_multiplier"]
    return _scaled(total, attrs)


def _qmultiply(call, a, b):
    attrs = op.attributes(call)
    product = centred(a, attrs["a_zero_point"]) * centred(b, attrs["b_zero_point"])
    return _scaled(product * attrs["multiplier"], attrs)


def _qavg_pool2d(call, x):
    attrs = op.attributes(call)
    settings = attrs["pool_size"], attrs["strides"], attrs["padding"], (1, 1)
    deviations = centred(x, attrs["input_zero_point"])
    sums = windows(deviations, *settings, fill=0).sum(axis=(4, 5))
    return _scaled(sums * attrs["multiplier"], attrs)


def _scaled(total, attrs):
    ends = (attrs[key] for key in ("output_zero_point", "clip_min", "clip_max"))
    return requantized(total, attrs["shift"], 1 << (attrs["shift"] - 1), *ends)


def _of_heads(call, data):
    """Queries, keys and values (windows, heads, tokens, size) of self-attention."""
    attrs = op.attributes(call)
    rows = data.reshape(-1, attrs["tokens"], data.shape[-1])
    width = attrs["heads"] * attrs["size"]
    shape = (*rows.shape[:2], attrs["heads"], attrs["size"])
    parts = (rows[:, :, start : start + width] for start in attrs["offsets"])
    return [part.reshape(shape).swapaxes(1, 2) for part in parts]


def _from_heads(x):
    """(windows, heads, tokens, size) as (1, 1, windows · tokens, heads · size)."""
    windows, heads, tokens, size = x.shape
    return x.swapaxes(1, 2).reshape(1, 1, windows * tokens, heads * size)


def _attention(call, data, bias=None, kind=None):
    query, key, value = (part.astype(np.float64) for part in _of_heads(call, data))
    scores = query @ key.swapaxes(2, 3) * call.attrs["scale"]
    if bias is not None:
        scores += bias[kind]
    return _from_heads(special.softmax(scores, axis=3) @ value).astype(np.float32)


def _qattention(call, data, bias=None, kind=None):
    attrs = op.attributes(call)
    query, key, value = (part.astype(np.int64) for part in _of_heads(call, data))
    products = (query - attrs["input_zero_point"]) @ (key - 128).swapaxes(2, 3)
    real = products.astype(np.float32) * np.float32(attrs["score_scale"])
    scores = np.clip(np.rint(real), -(2**28), 2**28).astype(np.int64)
    if bias is not None:
        scores += bias[kind]
    less = scores.max(axis=3, keepdims=True) - scores
    halvings, rest = np.minimum(less >> 16, 15), (less & 2**16 - 1) >> 1
    power = 32767 + (rest * (-22653 + (rest * (7562 + (rest * -1292 >> 15)) >> 15)) >> 15)
    weights = 255 * power + (1 << 14 + halvings) >> 15 + halvings
    totals = weights.sum(axis=3, keepdims=True).astype(np.float32)
    sums = weights @ (value - attrs["input_zero_point"])
    real = sums.astype(np.float32) * (np.float32(attrs["value_scale"]) / totals)
    whole = np.clip(np.rint(real), -(2**28), 2**28) + attrs["output_zero_point"]
    return _from_heads(np.clip(whole, attrs["clip_min"], attrs["clip_max"]).astype(np.uint8))


def _quantize(call, x, scale, zero_point):
    """Division in float32, halves to even, saturated."""
    assert call.attrs.out_dtype == "uint8"
    with np.errstate(over="ignore"):
        steps = np.rint(x / _along(call, scale, x)) + _along(call, zero_point, x).astype(np.float32)
    return np.clip(steps, 0, 255).astype(np.uint8)


def _dequantize(call, x, scale, zero_point):
    steps = x.astype(np.int32) - _along(call, zero_point, x).astype(np.int32)
    return steps.astype(np.float32) * _along(call, scale, x)


def _along(call, parameter, x):
    """A scalar, or one of each channel along the call's axis."""
    if parameter.ndim == 0:
        return parameter
    shape = [1] * x.ndim
    shape[int(call.attrs.axis)] = -1
    return parameter.reshape(shape)


def _conv2d(call, x, weight, bias, residual=None):
    attrs = op.attributes(call)
    exact = convolve(x, weight_of(call, weight).astype(np.float64), attrs, 0) + bias
    if residual is not None:
        exact += residual
    return np.clip(exact, attrs["clip_min"], attrs["clip_max"]).astype(np.float32)


def _pool(call, x, fill):
    attrs = call.attrs
    assert attrs.layout == "NHWC"
    assert not attrs.ceil_mode
    return windows(x, attrs.pool_size, attrs.strides, attrs.padding, attrs.dilation, fill)


def _max_pool2d(call, x):
    least = 0 if x.dtype == np.uint8 else -np.inf
    return _pool(call, x, least).max(axis=(4, 5))


def _avg_pool2d(call, x):
    totals = _pool(call, x.astype(np.float64), 0).sum(axis=(4, 5))
    counted = np.ones_like(x, np.float64)
    counts = _pool(call, counted, 1 if call.attrs.count_include_pad else 0).sum(axis=(4, 5))
    return (totals / np.maximum(counts, 1)).astype(np.float32)


def _split(call, x):
    sections = call.attrs.indices_or_sections
    sections = [int(s) for s in sections] if hasattr(sections, "__len__") else int(sections)
    return np.split(x, sections, axis=int(call.attrs.axis))


def _softmax(call, x):
    return special.softmax(x.astype(np.float64), axis=int(call.attrs.axis)).astype(np.float32)


def _layer_norm(call, x, gamma, beta):
    assert [int(axis) for axis in call.attrs.axes] == [-1]
    exact = x.astype(np.float64)
    deviations = exact - exact.mean(axis=-1, keepdims=True)
    variance = np.square(deviations).mean(axis=-1, keepdims=True)
    return (deviations / np.sqrt(variance + call.attrs.epsilon) * gamma + beta).astype(np.float32)


def _reshape(call, x, *_):
    return x.reshape(op.shape_of(call))


def _of(function):
    """An operator whose attributes do not matter."""
    return lambda _, *arguments: function(*arguments)


def _float64(function):
    return lambda _, x: function(x.astype(np.float64)).astype(np.float32)


_OPERATORS = {
    "bitsweep.qconv2d": _qconv2d,
    "bitsweep.qadd": _qadd,
    "bitsweep.qmultiply": _qmultiply,
    "bitsweep.qlookup": _of(lambda x, table: table[x]),
    "bitsweep.qavg_pool2d": _qavg_pool2d,
    "bitsweep.qattention": _qattention,
    "bitsweep.attention": _attention,
    "bitsweep.conv2d": _conv2d,
    "relax.quantize": _quantize,
    "relax.dequantize": _dequantize,
    "relax.nn.max_pool2d": _max_pool2d,
    "relax.nn.avg_pool2d": _avg_pool2d,
    "relax.concat": lambda call, parts: np.concatenate(parts, axis=int(call.attrs.axis)),
    "relax.split": _split,
    "relax.reshape": _reshape,
    "relax.expand_dims": _reshape,
    "relax.squeeze": _reshape,
    "relax.flatten": _reshape,
    "relax.permute_dims": lambda call, x: x.transpose([int(a) for a in call.attrs.axes]),
    "relax.add": _of(np.add),
    "relax.subtract": _of(np.subtract),
    "relax.multiply": _of(np.multiply),
    "relax.divide": _of(np.divide),
    "relax.minimum": _of(np.minimum),
    "relax.maximum": _of(np.maximum),
    "relax.clip": _of(np.clip),
    "relax.nn.relu": _of(lambda x: np.maximum(x, np.float32(0))),
    "relax.nn.leakyrelu": lambda call, x: np.where(x > 0, x, x * np.float32(call.attrs.alpha)),
    "relax.nn.silu": _float64(lambda x: x * special.expit(x)),
    "relax.nn.gelu": _float64(lambda x: x * special.ndtr(x)),
    "relax.nn.softmax": _softmax,
    "relax.nn.layer_norm": _layer_norm,
    "relax.take": lambda call, x, indices: np.take(x, indices, axis=int(call.attrs.axis)),
    "relax.sigmoid": _float64(special.expit),
    "relax.tanh": _float64(np.tanh),
    "relax.exp": _float64(np.exp),
}
