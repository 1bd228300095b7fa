"""Realise: a calibrated module, which simulates quantization in floats → the same in integers.

Each marked tensor becomes uint8; the operators between marks become `bitsweep.q…`. What stays float
reads `dequantize`, and what integers read of it goes through `quantize`.
"""

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import elementwise, graph, grid, op
from bitsweep.relax.errors import NotQuantizable
from bitsweep.relax.requantization import half_and_fraction, multiplier_and_shift
from bitsweep.relax.transform.annotate import MOVES

_ARITHMETIC = (
    "relax.add",
    "relax.multiply",
    "relax.nn.avg_pool2d",
    "relax.concat",
    "bitsweep.attention",
)
_INT32_MAX = 2**31 - 1
_MOST_BIAS = 2.0**30
_TINY = 1e-30


def realise(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module in integers; `NotQuantizable` where an int32 accumulator could overflow."""
    return tvm.ir.IRModule({"main": _Realiser(graph.main_of(mod)).run()}, attrs=mod.attrs)


@dataclass(frozen=True)
class _Scale:
    """What a uint8 tensor stands for: scale · (q − zero_point), q from 0 to highest."""

    scale: float
    zero_point: int
    highest: int

    @staticmethod
    def of(mark: relax.Expr) -> "_Scale":
        attrs = mark.attrs
        if "scale" not in op.attributes(mark):
            raise ValueError(f"{attrs['name']} is not calibrated")
        return _Scale(attrs["scale"], attrs["zero_point"], 2 ** attrs["bits"] - 1)

    def quantize(self, real: np.ndarray | float) -> np.ndarray:
        # Bounded first: infinity would not survive the addition in integers.
        steps = np.clip(np.asarray(real, np.float64) / self.scale, -(2.0**31), 2.0**31)
        return np.clip(np.rint(steps) + self.zero_point, 0, self.highest).astype(np.uint8)

    @property
    def levels(self) -> np.ndarray:
        """The real values of all 256 integers, float32."""
        return (np.float32(self.scale) * (np.arange(256) - self.zero_point)).astype(np.float32)


@dataclass(frozen=True)
class _Quantized:
    """A uint8 tensor of the new module."""

    expr: relax.Expr
    scale: _Scale


class _Realiser:
    def __init__(self, function: relax.Function):
        self.function = function
        self.definitions = {b.var: b.value for b in graph.bindings(function)}
        self.floats: dict[relax.Var, relax.Expr] = {}
        self.integers: dict[relax.Var, _Quantized | list[_Quantized]] = {}
        self.builder = relax.BlockBuilder()
        self.marks = {
            binding.value.args[0]: _Scale.of(binding.value)
            for binding in graph.bindings(function)
            if op.is_call(binding.value, "bitsweep.fake_quantize")
        }

    def run(self) -> relax.Function:
        (image,) = self.function.params
        with self.builder.function("main", [image]):
            with self.builder.dataflow():
                self.floats[image] = image
                for binding in graph.bindings(self.function):
                    self.visit(binding)
                result = self.builder.emit_output(self.float_expr(self.function.body.body))
            self.builder.emit_func_output(result)
        mod = relax.transform.DeadCodeElimination()(self.builder.finalize())
        return relax.transform.CanonicalizeBindings()(mod)["main"]

    def visit(self, binding: relax.VarBinding) -> None:
        var, value = binding.var, binding.value
        if isinstance(value, relax.Var):
            for kept in (self.floats, self.integers):
                if value in kept:
                    kept[var] = kept[value]
        elif op.is_call(value, "bitsweep.fake_quantize"):
            self.integers[var] = self.marked(value)
        elif op.is_quantized_layer(value):
            if var not in self.marks:
                self.floats[var] = self.convolution_to_float(value)
        elif var in self.marks and self.is_integer(value):
            pass  # made where the mark is, whose scale it needs
        elif (moved := self.moved(value)) is not None:
            self.integers[var] = moved
        elif self.is_weight(value) or self.is_inside_function(value):
            pass
        else:
            self.floats[var] = self.builder.emit(self.float_expr(value))

    # Floats, made when something reads them.

    def float_expr(self, expr: relax.Expr) -> relax.Expr:
        return graph.replace(expr, {var: self.float(var) for var in graph.variables(expr)})

    def float(self, var: relax.Var) -> relax.Expr:
        if var not in self.floats:
            if var in self.integers:
                self.floats[var] = self.dequantized(self.integers[var])
            else:  # a step on the way to a marked tensor, read by something else as well
                value = self.definitions[var]
                self.floats[var] = self.builder.emit(self.float_expr(value))
        return self.floats[var]

    def dequantized(self, quantized) -> relax.Expr:
        if isinstance(quantized, list):
            return relax.Tuple([self.dequantized(item) for item in quantized])
        scale = quantized.scale
        return self.builder.emit(
            relax.op.dequantize(
                quantized.expr,
                relax.const(np.float32(scale.scale)),
                relax.const(np.uint8(scale.zero_point)),
                axis=-1,
            )
        )

    def convolution_to_float(self, call: relax.Expr) -> relax.Expr:
        """A convolution that floats read: its accumulators, scaled; clipped in float."""
        data, values, scales, bias, _ = self.operands(call)
        attrs = self.attributes(call, data)
        attrs["out_dtype"] = "int32"
        accumulator = self.builder.emit(
            op.call("qconv2d", [data.expr, relax.const(values), relax.const(bias)], attrs)
        )
        factors = (np.float64(data.scale.scale) * scales).astype(np.float32)
        zero_points = relax.const(np.zeros(len(factors), np.int32))
        real = self.builder.emit(
            relax.op.dequantize(accumulator, relax.const(factors), zero_points, axis=-1)
        )
        if len(call.args) > 3:
            real = self.builder.emit(relax.op.add(real, self.float(call.args[3])))
        limits = (call.attrs["clip_min"], call.attrs["clip_max"])
        return real if limits == op.NO_CLIP else self.builder.emit(relax.op.clip(real, *limits))

    # Integers.

    def is_integer(self, value: relax.Expr) -> bool:
        """Whether the operator that makes a marked tensor runs in integers."""
        if not isinstance(value, tvm.ir.Call):
            return False
        name = value.op.name
        reads = graph.variables(value)
        if not reads or not all(self.has_integers(var) for var in reads):
            return False
        return name in _ARITHMETIC or self.function_of(value) is not None

    def has_integers(self, var: relax.Var) -> bool:
        return var in self.integers or self.function_of(self.definitions.get(var)) is not None

    def function_of(self, value: relax.Expr | None) -> relax.Var | None:
        """The integer tensor that `value` is an element-by-element function of."""
        if value is None or not elementwise.is_known(value):
            return None
        bases = set()
        for var in graph.variables(value):
            base = var if var in self.integers else self.function_of(self.definitions.get(var))
            if base is None:
                return None
            bases.add(base)
        return bases.pop() if len(bases) == 1 else None

    def is_inside_function(self, value: relax.Expr) -> bool:
        """Whether `value` is a step of a function of an integer tensor, which `float` can make."""
        return self.function_of(value) is not None

    def is_weight(self, value: relax.Expr) -> bool:
        return op.is_call(value, "relax.dequantize") and graph.array(value.args[0]) is not None

    def marked(self, mark: relax.Expr) -> _Quantized:
        (source,), scale = mark.args, _Scale.of(mark)
        value = self.definitions.get(source)
        if source in self.floats:
            return self.quantized(self.floats[source], scale)
        if op.is_call(value, "bitsweep.conv2d"):
            return self.convolution(value, scale)
        if op.is_call(value, "relax.nn.avg_pool2d"):
            return self.average(value, scale)
        if op.is_call(value, "relax.concat"):
            return self.joined(value, scale)
        if op.is_call(value, "bitsweep.attention"):
            return self.attended(value, scale)
        base = self.function_of(value)
        if base is not None:
            return self.looked_up(source, base, scale)
        if op.is_call(value, "relax.add"):
            return self.added(value, scale)
        if op.is_call(value, "relax.multiply"):
            return self.multiplied(value, scale)
        return self.quantized(self.float(source), scale)

    def quantized(self, expr: relax.Expr, scale: _Scale) -> _Quantized:
        integers = self.builder.emit(
            relax.op.quantize(
                expr,
                relax.const(np.float32(scale.scale)),
                relax.const(np.uint8(scale.zero_point)),
                axis=-1,
                out_dtype="uint8",
            )
        )
        if scale.highest < 255:
            integers = self.builder.emit(
                relax.op.minimum(integers, relax.const(np.uint8(scale.highest)))
            )
        return _Quantized(integers, scale)

    def operands(self, call: relax.Expr):
        """A layer's data, integer weights and their scales; its bias in accumulator units, int32
        with what the zero point adds, and the fraction that this leaves."""
        data = self.integers[call.args[0]]
        weight = self.definitions[call.args[1]]
        values, scales = graph.array(weight.args[0]), graph.array(weight.args[1])
        scales = np.broadcast_to(scales, values.shape[:1]).astype(np.float64)
        real_bias = graph.array(call.args[2]).astype(np.float64)
        # A dead channel's output is its bias, and nearly so that of one whose weights are tiny: in
        # units that hold the bias, the weights as integers of that unit.
        least = np.maximum(np.abs(real_bias), _TINY) / _MOST_BIAS / data.scale.scale
        scaled = values * np.minimum(scales / least, 1)[:, None, None, None]
        values = grid.round_to_grid(scaled, call.attrs["weight_bits"]).astype(np.int8)
        scales = np.maximum(scales, least)
        bias = real_bias / (data.scale.scale * scales)
        sums = values.reshape(len(values), -1).astype(np.int64)
        whole = np.rint(bias)
        total = whole - data.scale.zero_point * sums.sum(axis=1)
        # The most that the accumulator can hold on its way, whatever the order of its terms.
        reach = np.abs(total) + data.scale.highest * np.abs(sums).sum(axis=1)
        if reach.max() > _INT32_MAX:
            raise NotQuantizable(
                f"{call.attrs['name']}: its accumulator can reach {reach.max():.3g}, more than 32 "
                "bits hold; give its weights or inputs fewer bits, or skip the layer"
            )
        return data, values, scales, total.astype(np.int32), bias - whole

    def attributes(self, call: relax.Expr, data: _Quantized) -> dict:
        attrs = op.attributes(call)
        attrs.update(input_zero_point=data.scale.zero_point, residual_zero_point=0)
        attrs.update(output_zero_point=0, clip_min=0, clip_max=255)
        attrs.update(input_bits=data.scale.highest.bit_length())
        return attrs

    def convolution(self, call: relax.Expr, scale: _Scale) -> _Quantized:
        data, values, scales, bias, fraction = self.operands(call)
        factors = [data.scale.scale * scales / scale.scale]
        attrs = self.attributes(call, data)
        residual = None
        if len(call.args) > 3:
            residual = self.integers[call.args[3]]
            attrs["residual_zero_point"] = residual.scale.zero_point
            factors.append(np.full(len(scales), residual.scale.scale / scale.scale))
        limits = scale.quantize([call.attrs["clip_min"], call.attrs["clip_max"]])
        attrs.update(clip_min=int(limits[0]), clip_max=int(limits[1]))
        attrs.update(output_zero_point=scale.zero_point, out_dtype="uint8")
        multipliers, shift = multiplier_and_shift(*factors)
        half = half_and_fraction(multipliers[0], shift, fraction)
        arguments = [data.expr, *map(relax.const, (values, bias, multipliers[0], shift))]
        arguments.append(relax.const(half, "int64"))  # which `const` makes int32 by itself
        if residual is not None:
            arguments += [residual.expr, relax.const(multipliers[1])]
        return _Quantized(self.builder.emit(op.call("qconv2d", arguments, attrs)), scale)

    def added(self, call: relax.Expr, scale: _Scale) -> _Quantized:
        a, b = (self.integer(arg) for arg in call.args)
        factors = [a.scale.scale / scale.scale, b.scale.scale / scale.scale]
        (first, second), shift = multiplier_and_shift(*factors)
        attrs = {
            "a_zero_point": a.scale.zero_point,
            "b_zero_point": b.scale.zero_point,
            "a_multiplier": int(first),
            "b_multiplier": int(second),
            **_output(scale, shift),
        }
        return _Quantized(self.builder.emit(op.call("qadd", [a.expr, b.expr], attrs)), scale)

    def multiplied(self, call: relax.Expr, scale: _Scale) -> _Quantized:
        a, b = (self.integer(arg) for arg in call.args)
        if op.shape_of(a.expr) != op.shape_of(call):
            a, b = b, a
        (multiplier,), shift = multiplier_and_shift(a.scale.scale * b.scale.scale / scale.scale)
        attrs = {
            "a_zero_point": a.scale.zero_point,
            "b_zero_point": b.scale.zero_point,
            "multiplier": int(multiplier),
            **_output(scale, shift),
        }
        return _Quantized(self.builder.emit(op.call("qmultiply", [a.expr, b.expr], attrs)), scale)

    def average(self, call: relax.Expr, scale: _Scale) -> _Quantized:
        data, pool = self.integer(call.args[0]), call.attrs
        size = [int(extent) for extent in pool.pool_size]
        factor = data.scale.scale / (size[0] * size[1] * scale.scale)
        (multiplier,), shift = multiplier_and_shift(factor)
        attrs = {
            "pool_size": size,
            "strides": [int(stride) for stride in pool.strides],
            "padding": [int(pad) for pad in pool.padding],
            "input_zero_point": data.scale.zero_point,
            "multiplier": int(multiplier),
            **_output(scale, shift),
        }
        return _Quantized(self.builder.emit(op.call("qavg_pool2d", [data.expr], attrs)), scale)

    def attended(self, call: relax.Expr, scale: _Scale) -> _Quantized:
        data = self.integer(call.args[0])
        attrs = op.attributes(call)
        unit = 2**16 / np.log(2)  # of scores, which are logarithms of powers of two
        attrs.update(
            input_zero_point=data.scale.zero_point,
            score_scale=float(data.scale.scale**2 * attrs.pop("scale") * unit),
            value_scale=float(data.scale.scale / scale.scale),
            output_zero_point=scale.zero_point,
            clip_min=0,
            clip_max=scale.highest,
        )
        bias = [graph.array(argument) for argument in call.args[1:]]
        if bias:
            reach = 2.0**28
            steps = np.clip(np.rint(bias[0].astype(np.float64) * unit), -reach, reach)
            bias[0] = steps.astype(np.int32)
        arguments = [data.expr, *map(relax.const, bias)]
        return _Quantized(self.builder.emit(op.call("qattention", arguments, attrs)), scale)

    def joined(self, call: relax.Expr, scale: _Scale) -> _Quantized:
        parts = [self.rescaled(self.integer(var), scale) for var in graph.variables(call)]
        joined = relax.op.concat([part.expr for part in parts], axis=int(call.attrs.axis))
        return _Quantized(self.builder.emit(joined), scale)

    def integer(self, var: relax.Var) -> _Quantized:
        return self.integers[var]

    def rescaled(self, data: _Quantized, scale: _Scale) -> _Quantized:
        if data.scale == scale:
            return data
        return self.lookup(data, scale.quantize(data.scale.levels), scale)

    def looked_up(self, source: relax.Var, base: relax.Var, scale: _Scale) -> _Quantized:
        data = self.integers[base]
        reals = elementwise.evaluate(source, {base: data.scale.levels}, self.definitions)
        return self.lookup(data, scale.quantize(reals), scale)

    def lookup(self, data: _Quantized, table: np.ndarray, scale: _Scale) -> _Quantized:
        call = op.call("qlookup", [data.expr, relax.const(table)], {})
        return _Quantized(self.builder.emit(call), scale)

    def moved(self, value: relax.Expr):
        """What only moves an integer tensor: the same operator, on uint8."""
        reads = graph.variables(value)
        if len(reads) != 1 or reads[0] not in self.integers:
            return None
        data = self.integers[reads[0]]
        if isinstance(value, relax.TupleGetItem):
            return data[value.index]
        if not isinstance(value, tvm.ir.Call) or value.op.name not in MOVES:
            return None
        if isinstance(data, list):
            return None
        made = self.builder.emit(graph.replace(value, {reads[0]: data.expr}))
        if not isinstance(made.ty, relax.TupleType):
            return _Quantized(made, data.scale)
        return [
            _Quantized(self.builder.emit(relax.TupleGetItem(made, index)), data.scale)
            for index in range(len(made.ty.fields))
        ]


def _output(scale: _Scale, shift: np.ndarray) -> dict:
    return {
        "shift": int(shift),
        "output_zero_point": scale.zero_point,
        "clip_min": 0,
        "clip_max": scale.highest,
    }
