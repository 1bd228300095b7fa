"""Round weights: each layer's in the order of the graph, fitted to the inputs that it will read.

The float network and the network quantized so far run side by side, one operator at a time over all
images: a layer's integers, scales and bias are chosen so that from quantized inputs it answers what
the float layer answers from its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import tvm
from numpy.lib.stride_tricks import sliding_window_view
from tvm import relax

from bitsweep.relax import graph, op, weights
from bitsweep.relax.bisection import bisect
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.transform.calibrate import finished, joined, simulated

WIDEST = 8192
"""A layer of more inputs is rounded to nearest: its second moments would take gigabytes."""

_ROWS = 4096  # gathered before their products are formed
_BISECTED_ROWS = 2048  # from which thresholds are found, to twice as many

# Weight by weight, descent gains next to nothing from three bits on.
_SWEPT_BITS = 2
_SWEEPS = 8


def round_weights(
    mod: tvm.IRModule, config: QConfig, images: Sequence[np.ndarray], evaluator: Evaluator | None
) -> tvm.IRModule:
    """Return the calibrated module with integers for the weights of its annotated layers.

    A weight becomes `dequantize` of int8 (O, KH, KW, C / groups) by a scale per output channel.
    Where biases are corrected and a mark leaves one bit of a layer's output, the bias puts each
    channel's threshold where the bit tells most of the float output, and the mark's scale is fitted
    to it. `evaluator` is of `mod`, or of what it was before calibration. Memory grows with the
    images, by the tensors alive between two operators. Neither is needed to round to nearest
    without bias correction.
    """
    (parameter,) = graph.main_of(mod).params
    states = [State({parameter: image}, {parameter: image}) for image in images]
    marks = _one_bit_marks(mod) if config.bias_correction else {}
    pairs = []
    for index, binding in enumerate(graph.bindings(graph.main_of(mod))):
        var, value = binding.var, binding.value
        if op.is_call(value, "bitsweep.conv2d"):
            layer, exact, quantized = round_layer(binding, config, states, evaluator)
            bias = graph.array(binding.value.args[2])
            for state, ours in zip(states, exact, strict=True):
                state.exact[var] = finished(binding.value, ours, bias, state.exact)
            if layer.integers is not None:
                if var in marks:
                    layer.bias, marks[var] = bisected(binding, marks[var], layer, quantized, states)
                integers = relax.Var(f"{var.name}_weight", value.args[1].ty)
                pairs.append((integers, _dequantized(layer)))
                arguments = [value.args[0], integers, relax.const(layer.bias), *value.args[3:]]
                value = tvm.ir.Call(value.op, arguments, value.attrs)
            for state, theirs in zip(states, quantized, strict=True):
                state.quantized[var] = finished(binding.value, theirs, layer.bias, state.quantized)
        else:
            if op.is_call(value, "bitsweep.fake_quantize"):
                value = marks.get(value.args[0], value)
            for state in states:
                state.advance(relax.VarBinding(var, value), evaluator)
        pairs.append((var, value))
        for state in states:
            state.forget(evaluator.dead_after(index))
    return graph.with_bindings(mod, pairs)


@dataclass
class State:
    """The tensors alive of one image: the float network's, and the quantized network's."""

    exact: dict[relax.Var, np.ndarray]
    quantized: dict[relax.Var, np.ndarray]

    def advance(self, binding: relax.VarBinding, evaluator: Evaluator) -> None:
        if op.is_call(binding.value, "bitsweep.fake_quantize"):
            source = binding.value.args[0]
            self.exact[binding.var] = self.exact[source]
            self.quantized[binding.var] = simulated(binding.value, self.quantized[source])
        else:
            for values in (self.exact, self.quantized):
                values[binding.var] = evaluator.apply(binding, values)

    def forget(self, variables) -> None:
        for var in variables:
            self.exact.pop(var, None)
            self.quantized.pop(var, None)


@dataclass
class Layer:
    """Weights in real units, (O, KH, KW, C / groups), and bias; rounded ones with integers."""

    weight: np.ndarray
    bias: np.ndarray
    groups: int
    integers: np.ndarray | None = field(default=None)
    scales: np.ndarray | None = field(default=None)

    @staticmethod
    def of(call: relax.Expr) -> "Layer":
        weight, bias = (graph.array(arg) for arg in call.args[1:3])
        return Layer(weight, bias, call.attrs["groups"])

    @property
    def rows(self) -> np.ndarray:
        """Weights as matrices by group, (G, O / G, K)."""
        return self.weight.reshape(self.groups, len(self.weight) // self.groups, -1)


def _dequantized(layer: Layer) -> relax.Expr:
    return relax.op.dequantize(
        relax.const(layer.integers),
        relax.const(layer.scales.astype(np.float32)),
        relax.const(np.zeros(len(layer.scales), np.int8)),
        axis=0,
    )


def round_layer(
    binding: relax.VarBinding, config: QConfig, states: Sequence[State], evaluator: Evaluator
) -> tuple[Layer, list[np.ndarray], list[np.ndarray]]:
    """The layer with weights on the grid and its bias corrected, if it is annotated; as it is else.

    With it come its sums, without bias and residual, an array an image: those of the float layer
    in the float network, and those of the new layer in the quantized one.
    """
    rounding = Rounding(binding, states, evaluator)
    if not op.is_quantized_layer(binding.value):
        return rounding.layer, rounding.sums, rounding.answers(rounding.layer)
    layer, answers = rounding.to(binding.value.attrs["weight_bits"], config)
    return layer, rounding.sums, answers


class Rounding:
    """A layer about to be rounded: what its rounding to any number of bits shares.

    `layer` is the float one, and `sums` are its own in the float network, without bias and
    residual, an array an image. To be used before the states advance.
    """

    def __init__(self, binding: relax.VarBinding, states: Sequence[State], evaluator: Evaluator):
        self._binding, self._evaluator = binding, evaluator
        self.layer = Layer.of(binding.value)
        self.sums = _sums(self.layer, binding, [state.exact for state in states], evaluator)
        self._states = states

    def answers(self, layer: Layer) -> list[np.ndarray]:
        """The sums of such a layer in the quantized network."""
        inputs = [state.quantized for state in self._states]
        return _sums(layer, self._binding, inputs, self._evaluator)

    def to(self, bits: int, config: QConfig) -> tuple[Layer, list[np.ndarray]]:
        """The layer with weights on the grid of `bits` and its bias corrected, and its answers."""
        rounded = self._rounded(bits, config)
        answers = self.answers(rounded)
        if config.bias_correction:
            missing = [aim - answer for aim, answer in zip(self._aims, answers, strict=True)]
            mean = np.mean(
                [part.mean(axis=(0, 1, 2), dtype=np.float64) for part in missing], axis=0
            )
            rounded.bias = (rounded.bias + mean).astype(np.float32)
        return rounded, answers

    def _rounded(self, bits: int, config: QConfig) -> Layer:
        layer, rows = self.layer, self.layer.rows
        per_channel = config.weight_granularity == "per_channel"
        rounding = config.rounding
        if (rounding == "binary" and bits > 1) or (rounding == "gptq" and rows.shape[-1] > WIDEST):
            rounding = "nearest"
        if rounding == "gptq":
            integers, scales = weights.gptq(
                self._matrix,
                bits=bits,
                **self._second_order,
                per_channel=per_channel,
                sweeps=_SWEEPS if bits <= _SWEPT_BITS else 0,
            )
        elif rounding == "binary":
            integers, scales = weights.binary(rows.reshape(len(layer.weight), -1))
            if not per_channel:
                scales = np.full_like(scales, scales.mean())
        else:
            choose = weights.by_maximum if config.weight_scale == "max" else weights.by_error
            scales = choose(rows, bits, per_channel)
            integers = weights.nearest(rows, scales, bits)
        integers, scales = integers.reshape(layer.weight.shape), scales.reshape(-1)
        weight = (integers * scales.reshape(-1, 1, 1, 1)).astype(np.float32)
        return Layer(weight, layer.bias, layer.groups, integers, scales)

    @cached_property
    def _aims(self) -> list[np.ndarray]:
        # What a residual is off by, the layer may make up for.
        return [
            answer + _residual_error(self._binding.value, state)
            for answer, state in zip(self.sums, self._states, strict=True)
        ]

    @property
    def _matrix(self) -> np.ndarray:
        rows = self.layer.rows
        return rows if self.layer.groups > 1 else rows[0]

    @cached_property
    def _second_order(self) -> dict:
        """What `weights.gptq` needs beside the weights, whatever the bits."""
        call = self._binding.value
        inputs = [state.quantized[call.args[0]] for state in self._states]
        moments = _moments(self.layer, op.attributes(call), inputs, self._aims)
        return {
            "hessian": moments.covariance(),
            "cross": moments.cross_covariance(),
            "trust": weights.shrinkage(self._matrix, moments),
        }


def _one_bit_marks(mod: tvm.IRModule) -> dict[relax.Var, relax.Expr]:
    """The marks that leave one bit of a tensor, by the tensor.

    What is concatenated has a scale in common, which is none of its own to fit.
    """
    bindings = list(graph.bindings(graph.main_of(mod)))
    shared = {var for group in joined(bindings) for var in group}
    return {
        binding.value.args[0]: binding.value
        for binding in bindings
        if op.is_call(binding.value, "bitsweep.fake_quantize")
        and binding.value.attrs["bits"] == 1
        and binding.var not in shared
    }


def bisected(
    binding: relax.VarBinding,
    mark: relax.Expr,
    layer: Layer,
    sums: Sequence[np.ndarray],
    states: Sequence[State],
) -> tuple[np.ndarray, relax.Expr]:
    """A layer's bias and its mark of one bit, so that this tells most of the float output.

    `sums` are the quantized network's, and `states` have the float layer's output.
    """
    call = binding.value
    totals, wanted = [], []
    step = max(sum(part[..., 0].size for part in sums) // _BISECTED_ROWS, 1)
    for state, part in zip(states, sums, strict=True):
        total = part + state.quantized[call.args[3]] if len(call.args) > 3 else part
        for gathered, values in ((totals, total), (wanted, state.exact[binding.var])):
            gathered.append(values.reshape(-1, values.shape[-1]))
    found = bisect(*(np.concatenate(rows)[::step] for rows in (totals, wanted)))
    scale = np.float32(found.distance)
    # A mark rounds to its upper level above the middle, which clipping must not keep out of reach.
    middle = scale / 2
    if not (scale > 0 and call.attrs["clip_min"] < middle < call.attrs["clip_max"]):
        return layer.bias, mark
    bias = np.where(np.isnan(found.thresholds), layer.bias, middle - found.thresholds)
    attrs = op.attributes(mark) | {"scale": float(scale), "zero_point": 0}
    return bias.astype(np.float32), op.call("fake_quantize", mark.args, attrs)


def _sums(layer: Layer, binding, values: Sequence[dict], evaluator: Evaluator) -> list[np.ndarray]:
    packed = Evaluator.packed(layer.weight, layer.groups)
    return [evaluator.convolve(binding, v[binding.value.args[0]], packed) for v in values]


def _residual_error(call: relax.Expr, state: State) -> np.ndarray | np.float32:
    if len(call.args) < 4:
        return np.float32(0)
    return state.exact[call.args[3]] - state.quantized[call.args[3]]


def _moments(layer: Layer, attrs: dict, inputs, aims) -> weights.Moments:
    groups, outputs, _ = layer.rows.shape
    moments = weights.Moments()
    gathered: list[tuple[np.ndarray, np.ndarray]] = []

    def form_products():
        read, wanted = (np.concatenate(parts, axis=1) for parts in zip(*gathered, strict=True))
        if groups > 1:
            moments.update(read, wanted)
        else:
            moments.update(read[0], wanted[0])
        gathered.clear()

    for data, aim in zip(inputs, aims, strict=True):
        gathered.append((_rows(data, attrs), aim.reshape(-1, groups, outputs).swapaxes(0, 1)))
        if sum(read.shape[1] for read, _ in gathered) >= _ROWS:
            form_products()
    if gathered:
        form_products()
    return moments


def _rows(data: np.ndarray, attrs: dict) -> np.ndarray:
    """Windows of an image (N, H, W, C) as rows, (G, N · OH · OW, KH · KW · C / G)."""
    (kh, kw), (down, right) = attrs["kernel_size"], attrs["strides"]
    (dy, dx), groups = attrs["dilation"], attrs["groups"]
    top, left, bottom, after = attrs["padding"]
    padded = np.pad(data, ((0, 0), (top, bottom), (left, after), (0, 0)))
    spans = (dy * (kh - 1) + 1, dx * (kw - 1) + 1)
    windows = sliding_window_view(padded, spans, axis=(1, 2))[:, ::down, ::right, :, ::dy, ::dx]
    batch, height, width, channels = windows.shape[:4]
    windows = windows.reshape(batch, height, width, groups, channels // groups, kh, kw)
    windows = windows.transpose(3, 0, 1, 2, 5, 6, 4)
    return windows.reshape(groups, batch * height * width, -1)
