"""Canonicalise: a float module as the frontend makes it → the few forms that later passes know.

Images become NHWC. Convolutions and dense layers (as 1×1 convolutions over rows) become
`bitsweep.conv2d`, with bias, batch norm, residual addition and clipping folded in. A batch norm
without a convolution before it is a depthwise 1×1 convolution. Self-attention becomes
`bitsweep.attention`. Means over the image are average pools. What a frontend leaves behind (tuples,
unused values, what is computed of constants alone, moves there and back) goes.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import elementwise, graph, op
from bitsweep.relax.folding import folded
from bitsweep.relax.moves import is_reshape
from bitsweep.relax.transform import attention
from bitsweep.relax.transform.simplify_moves import simplify_moves

_NHWC = (0, 2, 3, 1)
_NCHW = (0, 3, 1, 2)


@dataclass
class _Value:
    """A tensor of the source, by the forms in which it has been emitted.

    Forms are `plain`, as in the source; `nhwc`, of a 4-D tensor; and `rows`, (1, 1, M, K) for a
    tensor whose last axis is K. `conv` is the call that made its first form, if one did.
    """

    shape: tuple[int, ...]
    forms: dict[str, relax.Expr] = field(default_factory=dict)
    conv: relax.Expr | None = None

    @property
    def form(self) -> str:
        return next(iter(self.forms))


class _Weight(np.ndarray):
    """A weight that keeps PyTorch's path of the parameter that it was, however it is turned."""

    path: str | None = None

    def __array_finalize__(self, source):
        self.path = getattr(source, "path", None)

    @staticmethod
    def of(path: str, array: np.ndarray) -> "_Weight":
        weight = array.view(_Weight)
        weight.path = path
        return weight


def canonicalise(
    mod: tvm.IRModule, parameters: Mapping[str, tuple[str, np.ndarray]] | None = None
) -> tvm.IRModule:
    """Return the module in canonical form, its function `main` computing the same.

    `main` takes the images and has all weights bound as constants, or as parameters of its own,
    whose paths and values `parameters` has by their names (`frontend.parameters`); else
    `ValueError`. A layer is named by the path of its weight: `layer1.0.conv1` by
    `layer1.0.conv1.weight`, `attention.in_proj` by `attention.in_proj_weight`. A further use of the
    same weight is `fc#2`, `fc#3`, …; without a path, layers are counted by kind, `conv2d_0`,
    `dense_0`, `batch_norm_0`, and `former_names`, an attribute of the module, has what these would
    be for those with one.
    """
    parameters = parameters or {}
    function = graph.main_of(mod, parameters)
    weights = {name: _Weight.of(*parameter) for name, parameter in parameters.items()}
    canonicaliser = _Canonicaliser(function, weights)
    canonical = tvm.ir.IRModule({"main": canonicaliser.run()}, attrs=mod.attrs)
    canonical = simplify_moves(canonical)
    if canonicaliser.former_names:
        canonical = canonical.with_attr("former_names", canonicaliser.former_names)
    return canonical


class _Canonicaliser:
    def __init__(self, function: relax.Function, weights: Mapping[str, _Weight]):
        self.function = function
        self.weights = weights
        self.uses = graph.uses(function)
        self.builder = relax.BlockBuilder()
        self.values: dict[relax.Var, _Value | np.ndarray | list] = {}
        self.definitions = {b.var: b.value for b in graph.bindings(function)}
        self.layers: Counter[str] = Counter()
        self.former_names: dict[str, str] = {}

    def run(self) -> relax.Function:
        (image,) = (var for var in self.function.params if var.name not in self.weights)
        for var in self.function.params:
            if var.name in self.weights:
                self.values[var] = self.weights[var.name]
        with self.builder.function("main", [image]):
            with self.builder.dataflow():
                self.values[image] = _Value(op.shape_of(image), {"plain": image})
                for binding in graph.bindings(self.function):
                    self.values[binding.var] = self.visit(binding)
                result = self.builder.emit_output(self.plain_expr(self.function.body.body))
            self.builder.emit_func_output(result)
        mod = relax.transform.DeadCodeElimination()(self.builder.finalize())
        return relax.transform.CanonicalizeBindings()(mod)["main"]

    # What a binding is: a value in some form, a constant, or a list of them for a tuple.

    def visit(self, binding: relax.VarBinding):
        value = binding.value
        if isinstance(value, relax.Var | tvm.ir.GenericConst):
            return self.resolve(value)
        if isinstance(value, relax.Tuple):
            return [self.resolve(item) for item in value.fields]
        if isinstance(value, relax.TupleGetItem):
            items = self.resolve(value.tuple_value)
            if isinstance(items, list):
                return items[value.index]
        if isinstance(value, tvm.ir.Call) and isinstance(value.op, tvm.ir.Op):
            name = value.op.name
            made = None
            if name in elementwise.BINARY:
                made = self.arithmetic(value)
            elif name in elementwise.UNARY:
                made = self.elementwise(value)
            elif handler := _HANDLERS.get(name):
                made = handler(self, value)
            if made is None:
                made = self.folded(value)
            if made is not None:
                return made
        return self.emit_plain(self.plain_expr(value))

    def folded(self, call: relax.Expr) -> np.ndarray | None:
        """The value of a call of constants."""
        return folded(call, [self.constant(arg, arg) for arg in call.args])

    def constant(self, expr: relax.Expr, default=None) -> np.ndarray | None:
        """The value of an expression that is constant, else `default`."""
        if isinstance(expr, relax.Var):
            value = self.values.get(expr)
            return value if isinstance(value, np.ndarray) else default
        value = graph.array(expr)
        return default if value is None else value

    def resolve(self, expr: relax.Expr):
        if isinstance(expr, relax.Var):
            return self.values[expr]
        constant = graph.array(expr)
        return _Value((), {"plain": expr}) if constant is None else constant

    # Emitting, and changing form.

    def emit_plain(self, expr: relax.Expr) -> _Value:
        var = self.builder.emit(expr)
        shape = op.shape_of(var) if isinstance(var.ty, relax.TensorType) else ()
        return _Value(shape, {"plain": var})

    def emit(self, expr: relax.Expr, form: str, shape) -> _Value:
        conv = expr if op.is_call(expr, "bitsweep.conv2d") else None
        return _Value(tuple(shape), {form: self.builder.emit(expr)}, conv)

    def plain_expr(self, expr: relax.Expr) -> relax.Expr:
        """The expression with variables of the source replaced by their plain forms."""
        variables = {var: self.plain(self.values[var]) for var in graph.variables(expr)}
        return graph.replace(expr, variables)

    def plain(self, value) -> relax.Expr:
        if isinstance(value, np.ndarray):
            return relax.const(np.asarray(value))
        if isinstance(value, list):
            return relax.Tuple([self.plain(item) for item in value])
        return self.to(value, "plain")

    def to(self, value: _Value, form: str) -> relax.Expr:
        if form not in value.forms:
            value.forms[form] = self.builder.emit(self.changed(value, form))
        return value.forms[form]

    def changed(self, value: _Value, form: str) -> relax.Expr:
        if form == "rows":
            width = value.shape[-1]
            shape = (1, 1, int(np.prod(value.shape[:-1])), width)
            return relax.op.reshape(self.to(value, "plain"), shape)
        if form == "nhwc":
            batch, channels, height, width = value.shape
            if height == width == 1:
                return relax.op.reshape(self.to(value, "plain"), (batch, 1, 1, channels))
            return relax.op.permute_dims(self.to(value, "plain"), _NHWC)
        if "rows" in value.forms:
            return relax.op.reshape(value.forms["rows"], value.shape)
        if value.shape[2:] == (1, 1):
            return relax.op.reshape(value.forms["nhwc"], value.shape)
        return relax.op.permute_dims(value.forms["nhwc"], _NCHW)

    def image(self, expr: relax.Expr) -> relax.Expr | None:
        """A 4-D tensor as NHWC."""
        value = self.resolve(expr)
        if not isinstance(value, _Value) or len(value.shape) != 4:
            return None
        return self.to(value, "nhwc")

    # Convolutions and what folds into them.

    def layer_name(self, kind: str, *weights: np.ndarray) -> str:
        """The name of a layer of these weights, of which the first that has a path gives it."""
        paths = [path for weight in weights if (path := getattr(weight, "path", None))]
        counted = f"{kind}_{self.layers[kind]}"
        self.layers[kind] += 1
        if not paths:
            return counted
        name = re.sub(r"[._](weight|bias)$", "", paths[0])
        self.layers[name] += 1
        if self.layers[name] > 1:
            name = f"{name}#{self.layers[name]}"
        self.former_names[counted] = name
        return name

    def conv2d(self, call: relax.Expr) -> _Value | None:
        attrs, weight = call.attrs, self.resolve(call.args[1])
        data = self.image(call.args[0])
        layouts = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
        if (
            data is None
            or not isinstance(weight, np.ndarray)
            or layouts not in {("NCHW", "OIHW", "NCHW"), ("NCHW", "OIHW", "")}
            or len(attrs.padding) != 4
        ):
            return None
        convolution = _conv(
            self.layer_name("conv2d", weight),
            data,
            weight.transpose(0, 2, 3, 1),
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=attrs.groups,
        )
        return self.emit(convolution, "nhwc", op.shape_of(call))

    def matmul(self, call: relax.Expr) -> _Value | None:
        data, weight = (self.resolve(arg) for arg in call.args)
        if isinstance(weight, _Value):
            return self.attention(call)
        if (
            not isinstance(data, _Value)
            or not isinstance(weight, np.ndarray)
            or weight.ndim != 2
            or len(data.shape) < 2
        ):
            return None
        rows = self.to(data, "rows")
        dense = _conv(self.layer_name("dense", weight), rows, weight.T[:, None, None, :])
        return self.emit(dense, "rows", op.shape_of(call))

    def attention(self, call: relax.Expr) -> _Value | None:
        """The attention that ends in this product of two activations."""
        found = attention.match(call, self.definitions, self.constant)
        if found is None:
            return None
        arguments = [self.to(self.values[found.source], "rows")]
        if found.bias is not None:
            arguments += [relax.const(found.bias), relax.const(found.kind.astype(np.int32))]
        made = self.builder.emit(op.call("attention", arguments, found.attrs))
        tokens, heads, size = (found.attrs[key] for key in ("tokens", "heads", "size"))
        made = self.builder.emit(relax.op.reshape(made, (-1, tokens, heads, size)))
        made = self.builder.emit(relax.op.permute_dims(made, (0, 2, 1, 3)))
        return self.emit_plain(relax.op.reshape(made, op.shape_of(call)))

    def batch_norm(self, call: relax.Expr) -> list | None:
        source = call.args[0]
        statistics = [self.resolve(arg) for arg in call.args[1:]]
        data = self.image(source)
        attrs = call.attrs
        if data is None or attrs.axis != 1 or attrs.training:
            return None
        if not all(isinstance(array, np.ndarray) for array in statistics):
            return None
        gamma, beta, mean, variance = (array.astype(np.float64) for array in statistics)
        scale = 1 / np.sqrt(variance + attrs.epsilon)
        if attrs.scale:
            scale = scale * gamma
        shift = -mean * scale + (beta if attrs.center else 0)
        value = self.resolve(source)
        conv = self.foldable(source)
        if conv is not None:
            folded = _with(conv, *_scaled(conv, scale, shift))
            return [self.emit(folded, "nhwc", value.shape)]
        depthwise = _conv(
            self.layer_name("batch_norm", *statistics),
            data,
            scale.reshape(-1, 1, 1, 1),
            bias=shift,
            groups=len(scale),
        )
        return [self.emit(depthwise, "nhwc", value.shape)]

    def foldable(self, source: relax.Expr) -> relax.Expr | None:
        """The convolution that made `source`, if nothing else reads it and it may still change."""
        value = self.resolve(source)
        if not isinstance(value, _Value) or value.conv is None or self.uses[source] != 1:
            return None
        attrs = value.conv.attrs
        if len(value.conv.args) > 3 or (attrs["clip_min"], attrs["clip_max"]) != op.NO_CLIP:
            return None
        return value.conv

    def arithmetic(self, call: relax.Expr):
        left, right = (self.resolve(arg) for arg in call.args)
        function = elementwise.BINARY[call.op.name]
        if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
            return function(left, right)
        if isinstance(left, list) or isinstance(right, list):
            return None
        shape = op.shape_of(call)
        if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
            return self.with_constant(call, left, right, shape)
        if left.shape == right.shape:
            return self.of_two(call, left, right, shape)
        if len(left.shape) == len(right.shape) == 4:
            operands = [self.to(left, "nhwc"), self.to(right, "nhwc")]
            return self.emit(tvm.ir.Call(call.op, operands), "nhwc", shape)
        return None

    def of_two(self, call, left: _Value, right: _Value, shape) -> _Value:
        takers = [
            (source, other)
            for source, other in ((call.args[1], left), (call.args[0], right))
            if call.op.name == "relax.add"
            and self.foldable(source) is not None
            and self.resolve(source) is not other
        ]
        if takers:
            # The other one is rounded first, which more weights make up for better.
            source, other = max(takers, key=lambda taker: _fan_in(self.foldable(taker[0])))
            value, conv = self.resolve(source), self.foldable(source)
            residual = self.to(other, value.form)
            joined = tvm.ir.Call(conv.op, [*conv.args, residual], conv.attrs)
            return self.emit(joined, value.form, shape)
        form = left.form if left.form == right.form or left.form == "nhwc" else right.form
        operands = [self.to(left, form), self.to(right, form)]
        return self.emit(tvm.ir.Call(call.op, operands), form, shape)

    def with_constant(self, call, left, right, shape) -> _Value | None:
        flipped = isinstance(left, np.ndarray)
        constant, value = (left, right) if flipped else (right, left)
        source = call.args[1] if flipped else call.args[0]
        name = call.op.name.removeprefix("relax.")
        if value.shape != shape or not np.issubdtype(constant.dtype, np.floating):
            return None
        channels = _per_channel(constant, value)
        conv = self.foldable(source)
        if conv is not None and channels is not None and not (flipped and name == "divide"):
            scaled = {
                "add": lambda: _scaled(conv, None, channels),
                "subtract": lambda: _scaled(
                    conv,
                    -np.ones_like(channels) if flipped else None,
                    channels if flipped else -channels,
                ),
                "multiply": lambda: _scaled(conv, channels, 0),
                "divide": lambda: _scaled(conv, 1 / channels, 0),
            }
            if name in scaled and (name != "divide" or np.all(channels)):
                return self.emit(_with(conv, *scaled[name]()), value.form, shape)
        if constant.size == 1:
            operand = relax.const(constant.reshape(()))
        elif channels is not None and value.form != "plain":
            operand = relax.const(channels.astype(constant.dtype))
        else:
            return None
        operands = [operand, self.to(value, value.form)]
        if not flipped:
            operands.reverse()
        return self.emit(tvm.ir.Call(call.op, operands), value.form, shape)

    def elementwise(self, call: relax.Expr) -> _Value | None:
        value = self.resolve(call.args[0])
        if not isinstance(value, _Value):
            return None
        limits = _clip_limits(call)
        if limits and value.conv is not None and self.uses[call.args[0]] == 1:
            attrs = op.attributes(value.conv)
            for key in ("clip_min", "clip_max"):
                attrs[key] = float(np.clip(attrs[key], *limits))
            clipped = op.call("conv2d", value.conv.args, attrs)
            return self.emit(clipped, value.form, value.shape)
        arguments = [self.to(value, value.form), *(self.plain_expr(a) for a in call.args[1:])]
        same = tvm.ir.Call(call.op, arguments, call.attrs)
        return self.emit(same, value.form, value.shape)

    # Pools, and moving of data.

    def max_pool2d(self, call: relax.Expr) -> _Value | None:
        return self.pool(call, relax.op.nn.max_pool2d)

    def avg_pool2d(self, call: relax.Expr) -> _Value | None:
        return self.pool(call, relax.op.nn.avg_pool2d)

    def pool(self, call: relax.Expr, function) -> _Value | None:
        data, attrs = self.image(call.args[0]), call.attrs
        if data is None or attrs.layout != "NCHW" or attrs.out_layout not in ("NCHW", ""):
            return None
        names = ["pool_size", "strides", "padding", "dilation", "ceil_mode", "count_include_pad"]
        settings = {name: getattr(attrs, name) for name in names}
        return self.emit(function(data, **settings, layout="NHWC"), "nhwc", op.shape_of(call))

    def adaptive_avg_pool2d(self, call: relax.Expr) -> _Value | None:
        value, attrs = self.resolve(call.args[0]), call.attrs
        if not isinstance(value, _Value) or attrs.layout != "NCHW" or len(value.shape) != 4:
            return None
        shape = op.shape_of(call)
        if shape == value.shape:
            return value
        sizes = [have // want for have, want in zip(value.shape[2:], shape[2:], strict=True)]
        if any(
            size * want != have
            for size, want, have in zip(sizes, shape[2:], value.shape[2:], strict=True)
        ):
            return None
        pooled = relax.op.nn.avg_pool2d(self.to(value, "nhwc"), sizes, sizes, layout="NHWC")
        return self.emit(pooled, "nhwc", shape)

    def mean(self, call: relax.Expr) -> _Value | None:
        value, attrs = self.resolve(call.args[0]), call.attrs
        if not isinstance(value, _Value) or len(value.shape) != 4 or attrs.axis is None:
            return None
        if {int(axis) % 4 for axis in attrs.axis} != {2, 3}:
            return None
        size = value.shape[2:]
        pooled = relax.op.nn.avg_pool2d(self.to(value, "nhwc"), size, size, layout="NHWC")
        result = self.emit(pooled, "nhwc", (*value.shape[:2], 1, 1))
        if attrs.keepdims:
            return result
        flat = relax.op.reshape(self.to(result, "nhwc"), value.shape[:2])
        return self.emit(flat, "plain", value.shape[:2])

    def concat(self, call: relax.Expr) -> _Value | None:
        parts = (
            self.resolve(call.args[0])
            if isinstance(call.args[0], relax.Var)
            else [self.resolve(item) for item in call.args[0].fields]
        )
        if len(parts) == 1:
            return parts[0]
        shape = op.shape_of(call)
        images = all(isinstance(part, _Value) and len(part.shape) == 4 for part in parts)
        if not images or call.attrs.axis is None or int(call.attrs.axis) % 4 != 1:
            return None
        joined = relax.op.concat([self.to(part, "nhwc") for part in parts], axis=3)
        return self.emit(joined, "nhwc", shape)

    def split(self, call: relax.Expr) -> list | None:
        value = self.resolve(call.args[0])
        if not isinstance(value, _Value) or len(value.shape) != 4 or int(call.attrs.axis) % 4 != 1:
            return None
        sections = call.attrs.indices_or_sections
        sections = int(sections) if not hasattr(sections, "__len__") else [int(s) for s in sections]
        parts = self.builder.emit(relax.op.split(self.to(value, "nhwc"), sections, axis=3))
        return [
            self.emit(
                relax.TupleGetItem(parts, index), "nhwc", [int(extent) for extent in ty.shape]
            )
            for index, ty in enumerate(call.ty.fields)
        ]

    def reshape(self, call: relax.Expr):
        value = self.resolve(call.args[0])
        shape = op.shape_of(call)
        if isinstance(value, np.ndarray):
            return value.reshape(shape)
        if isinstance(value, list):
            return None
        if shape == value.shape:
            return value
        if "nhwc" in value.forms and value.shape[2:] == (1, 1) and shape == value.shape[:2]:
            return self.emit(relax.op.reshape(value.forms["nhwc"], shape), "plain", shape)
        return self.channel_shuffle(call, shape)

    def channel_shuffle(self, call: relax.Expr, shape) -> _Value | None:
        """Reshape (N, G, C / G, H, W), swap the two, reshape back (Zhang et al., 2018)."""
        swap = self.definitions.get(call.args[0])
        if not op.is_call(swap, "relax.permute_dims") or len(shape) != 4:
            return None
        if [int(axis) for axis in swap.attrs.axes] != [0, 2, 1, 3, 4]:
            return None
        grouped = self.definitions.get(swap.args[0])
        if not op.is_call(grouped, "relax.reshape"):
            return None
        value = self.resolve(grouped.args[0])
        batch, groups, channels, *size = op.shape_of(grouped)
        if not isinstance(value, _Value) or value.shape != shape or size != list(shape[2:]):
            return None
        data = relax.op.reshape(self.to(value, "nhwc"), (batch, *size, groups, channels))
        data = relax.op.permute_dims(self.builder.emit(data), [0, 1, 2, 4, 3])
        data = relax.op.reshape(self.builder.emit(data), (batch, *size, groups * channels))
        return self.emit(data, "nhwc", shape)

    def permute_dims(self, call: relax.Expr) -> np.ndarray | None:
        value = self.resolve(call.args[0])
        if not isinstance(value, np.ndarray):
            return None
        axes = call.attrs.axes
        return value.transpose(None if axes is None else [int(axis) for axis in axes])

    def pad(self, call: relax.Expr):
        """What is padded by nothing."""
        return self.resolve(call.args[0]) if is_reshape(call) else None

    def broadcast_to(self, call: relax.Expr):
        value = self.resolve(call.args[0])
        if isinstance(value, np.ndarray):
            return np.ascontiguousarray(np.broadcast_to(value, op.shape_of(call)))
        return value if isinstance(value, _Value) and value.shape == op.shape_of(call) else None


_HANDLERS = {
    "relax.nn.conv2d": _Canonicaliser.conv2d,
    "relax.nn.batch_norm": _Canonicaliser.batch_norm,
    "relax.nn.max_pool2d": _Canonicaliser.max_pool2d,
    "relax.nn.avg_pool2d": _Canonicaliser.avg_pool2d,
    "relax.nn.adaptive_avg_pool2d": _Canonicaliser.adaptive_avg_pool2d,
    "relax.matmul": _Canonicaliser.matmul,
    "relax.mean": _Canonicaliser.mean,
    "relax.concat": _Canonicaliser.concat,
    "relax.split": _Canonicaliser.split,
    "relax.reshape": _Canonicaliser.reshape,
    "relax.permute_dims": _Canonicaliser.permute_dims,
    "relax.broadcast_to": _Canonicaliser.broadcast_to,
    "relax.nn.pad": _Canonicaliser.pad,
}


def _conv(
    name, data, weight, bias=None, *, strides=(1, 1), padding=(0,) * 4, dilation=(1, 1), groups=1
) -> relax.Expr:
    weight = np.ascontiguousarray(np.asarray(weight), dtype=np.float32)
    bias = np.zeros(len(weight)) if bias is None else bias
    attrs = {
        "name": name,
        "kernel_size": list(weight.shape[1:3]),
        "channels": len(weight),
        "strides": [int(stride) for stride in strides],
        "padding": [int(pad) for pad in padding],
        "dilation": [int(step) for step in dilation],
        "groups": int(groups),
        "clip_min": op.NO_CLIP[0],
        "clip_max": op.NO_CLIP[1],
        "packed": False,
    }
    constants = [relax.const(weight), relax.const(np.asarray(bias, dtype=np.float32))]
    return op.call("conv2d", [data, *constants], attrs)


def _fan_in(conv: relax.Expr) -> int:
    """How many weights an output of a convolution has."""
    return math.prod(op.shape_of(conv.args[1])[1:])


def _scaled(conv: relax.Expr, scale: np.ndarray | None, shift: np.ndarray | float):
    """Weight and bias of scale · conv + shift, in the precision of float64."""
    weight, bias = (graph.array(arg) for arg in conv.args[1:3])
    if scale is None:
        return weight, bias + shift
    return weight * scale.reshape(-1, 1, 1, 1), bias * scale + shift


def _with(conv: relax.Expr, weight: np.ndarray, bias: np.ndarray) -> relax.Expr:
    constants = [relax.const(array.astype(np.float32, copy=False)) for array in (weight, bias)]
    return tvm.ir.Call(conv.op, [conv.args[0], *constants, *conv.args[3:]], conv.attrs)


def _per_channel(constant: np.ndarray, value: _Value) -> np.ndarray | None:
    """A constant that broadcasts along all but the channels, as float64 (channels,)."""
    axis = 1 if value.form == "nhwc" else len(value.shape) - 1
    channels = value.shape[axis]
    if constant.size == 1:
        return np.full(channels, constant.item(), dtype=np.float64)
    aligned = (1,) * (len(value.shape) - constant.ndim) + constant.shape
    expected = tuple(channels if i == axis else 1 for i in range(len(value.shape)))
    return constant.reshape(-1).astype(np.float64) if aligned == expected else None


def _clip_limits(call: relax.Expr) -> tuple[float, float] | None:
    if call.op.name == "relax.nn.relu":
        return 0.0, op.FLOAT_MAX
    if call.op.name == "relax.clip":
        low, high = (float(_number(arg)) for arg in call.args[1:3])
        return max(low, -op.FLOAT_MAX), min(high, op.FLOAT_MAX)
    return None


def _number(expr) -> float:
    value = expr.value
    return value.value if hasattr(value, "value") else value
