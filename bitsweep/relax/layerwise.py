"""What each layer alone costs: the network in floats but for one quantized layer."""

from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from bitsweep import metrics
from bitsweep.relax import graph, op
from bitsweep.relax.accounting import layer_macs
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.machine import host
from bitsweep.relax.statistics import Statistics, observe
from bitsweep.relax.transform.annotate import annotate
from bitsweep.relax.transform.calibrate import calibrate, exact, finished, simulated
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.round_weights import State, round_layer


def sensitivity(
    mod: tvm.IRModule,
    config: QConfig,
    calibration_data: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray | None,
    answers: np.ndarray,
    target: tvm.target.Target | None = None,
    statistics: Statistics | None = None,
) -> list[dict]:
    """Return a row per layer that `config` quantizes, in the order of the graph.

    `images` are float32 (N, …), `labels` (N,) if known, `answers` (N, classes) what the float
    network gives; `statistics` are as for `quantize`. A layer's weights and its input are rounded
    as `quantize` does, on calibration data that the float network brings there; everything else is
    float.

    A row has `layer`, `weight_bits`, `input_bits`, `macs`, `weights` (their number), `sqnr_db` of
    the layer's own output, `output_sqnr_db` of the network's, `top1_accuracy` (None without labels)
    and `top1_agreement` with `answers`, all as in `bitsweep.metrics`. Raises `ValueError` as
    `quantize` and `metrics.compare` do.
    """
    calibration = graph.images_of(mod, calibration_data)
    evaluation = graph.images_of(mod, images)
    annotated = annotate(canonicalise(mod), config)
    if statistics is None:
        statistics = observe(mod, calibration_data, target)
    evaluator = Evaluator(annotated, target or host(), finishing=True)
    network = _Network(
        list(graph.bindings(calibrate(annotated, config, statistics)["main"])),
        evaluator,
    )
    (parameter,) = graph.main_of(annotated).params
    seen = [{parameter: image} for image in calibration]
    judged = [{parameter: image} for image in evaluation]
    rows = []
    for index, binding in enumerate(network.bindings):
        if op.is_quantized_layer(binding.value):
            outputs, own = network.with_quantized(index, config, seen, judged)
            rows.append(_row(binding.value, own, outputs, labels, answers, network))
        for values in (*seen, *judged):
            network.step(index, values)
    return rows


@dataclass
class _Network:
    bindings: list[relax.VarBinding]
    evaluator: Evaluator
    packed: dict = field(init=False)

    def __post_init__(self):
        self.packed = {
            binding.var: self.evaluator.packed(
                graph.array(binding.value.args[1]), binding.value.attrs["groups"]
            )
            for binding in self.bindings
            if op.is_call(binding.value, "bitsweep.conv2d")
        }

    def step(self, index: int, values: dict) -> None:
        """Give the values of one more binding, in floats."""
        binding = self.bindings[index]
        values[binding.var] = exact(self.evaluator, binding, values, self.packed)
        for var in self.evaluator.dead_after(index):
            values.pop(var, None)

    def mark_of(self, var: relax.Var) -> relax.Expr:
        """The mark whose scale a layer's input has, before what only moves it."""
        definitions = {binding.var: binding.value for binding in self.bindings}
        while not op.is_call(definitions[var], "bitsweep.fake_quantize"):
            (var,) = graph.variables(definitions[var])
        return definitions[var]

    def with_quantized(self, index: int, config: QConfig, seen: list[dict], judged: list[dict]):
        """The network's outputs for `judged`, (N, classes), with this layer alone quantized, and
        the layer's own outputs: pairs of the float one and the quantized one."""
        binding = self.bindings[index]
        call, data = binding.value, binding.value.args[0]
        mark = self.mark_of(data)

        def rounded_input(values: dict) -> dict:
            return {**values, data: simulated(mark, values[data])}

        states = [State(values, rounded_input(values)) for values in seen]
        layer, *_ = round_layer(binding, config, states, self.evaluator)
        packed = self.evaluator.packed(layer.weight, layer.groups)
        outputs, own = [], []
        for values in judged:
            before = exact(self.evaluator, binding, values, self.packed)
            sums = self.evaluator.convolve(binding, rounded_input(values)[data], packed)
            after = finished(call, sums, layer.bias, values)
            own.append((before, after))
            alive = {**values, binding.var: after}
            outputs.append(self.evaluator.finish(index, alive, self.packed))
        return np.concatenate(outputs), own


def _row(call, own, outputs, labels, answers, network) -> dict:
    before, after = (np.concatenate(part) for part in zip(*own, strict=True))
    found = metrics.compare(outputs, answers, labels)
    return {
        "layer": call.attrs["name"],
        "weight_bits": int(call.attrs["weight_bits"]),
        "input_bits": int(network.mark_of(call.args[0]).attrs["bits"]),
        "macs": layer_macs(call),
        "weights": int(np.prod(op.shape_of(call.args[1]))),
        "sqnr_db": metrics.sqnr_db(after, before),
        "output_sqnr_db": found["sqnr_db"],
        "top1_accuracy": found["top1_accuracy"],
        "top1_agreement": found["top1_agreement"],
    }
