"""What each layer alone costs: the network in floats but for one quantized layer."""

from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from bitsweep import metrics
from bitsweep.relax import graph, op
from bitsweep.relax.accounting import layer_macs, layer_weights
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.machine import host
from bitsweep.relax.statistics import Statistics, observe
from bitsweep.relax.transform.annotate import annotate
from bitsweep.relax.transform.calibrate import calibrate, exact, finished, simulated
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.round_weights import Layer, Rounding, State


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
    network = Network(
        list(graph.bindings(calibrate(annotated, config, statistics)["main"])),
        evaluator,
    )
    (parameter,) = graph.main_of(annotated).params
    seen = [{parameter: image} for image in calibration]
    judged = [{parameter: image} for image in evaluation]
    rows = []
    for index, binding in enumerate(network.bindings):
        if op.is_quantized_layer(binding.value):
            call = binding.value
            mark = network.bindings[network.place_of_mark(call.args[0])].value
            layer, _ = network.rounding(index, mark, seen).to(call.attrs["weight_bits"], config)
            inputs = [simulated(mark, values[call.args[0]]) for values in judged]
            after = network.rounded_layer(index, layer, inputs, judged)
            before = [exact(evaluator, binding, values, network.packed) for values in judged]
            found = metrics.compare(network.outputs(index, after, judged), answers, labels)
            rows.append(_row(call, mark, before, after, found))
        for values in (*seen, *judged):
            network.step(index, values)
    return rows


@dataclass
class Network:
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

    def place_of_mark(self, var: relax.Var) -> int:
        """The index of the mark whose scale a layer's input has, before what only moves it."""
        places = {binding.var: index for index, binding in enumerate(self.bindings)}
        while not op.is_call(self.bindings[places[var]].value, "bitsweep.fake_quantize"):
            (var,) = graph.variables(self.bindings[places[var]].value)
        return places[var]

    def rounding(self, index: int, mark: relax.Expr, seen: list[dict]) -> Rounding:
        """The layer of this index about to be rounded, its input by `mark`, all before it float."""
        binding = self.bindings[index]
        data = binding.value.args[0]
        states = [State(values, {**values, data: simulated(mark, values[data])}) for values in seen]
        return Rounding(binding, states, self.evaluator)

    def rounded_layer(
        self, index: int, layer: Layer, inputs: list[np.ndarray], judged: list[dict]
    ) -> list[np.ndarray]:
        """What this layer answers, an array an image, in place of its own on rounded `inputs`."""
        binding = self.bindings[index]
        packed = self.evaluator.packed(layer.weight, layer.groups)
        return [
            finished(
                binding.value, self.evaluator.convolve(binding, data, packed), layer.bias, values
            )
            for data, values in zip(inputs, judged, strict=True)
        ]

    def outputs(self, index: int, answers: list[np.ndarray], judged: list[dict]) -> np.ndarray:
        """The network's outputs, (N, classes), given what the binding of this index answers."""
        var = self.bindings[index].var
        return np.concatenate(
            [
                self.evaluator.finish(index, {**values, var: answer}, self.packed)
                for values, answer in zip(judged, answers, strict=True)
            ]
        )


def _row(call, mark, before, after, found) -> dict:
    return {
        "layer": call.attrs["name"],
        "weight_bits": int(call.attrs["weight_bits"]),
        "input_bits": int(mark.attrs["bits"]),
        "macs": layer_macs(call),
        "weights": layer_weights(call),
        "sqnr_db": metrics.sqnr_db(np.concatenate(after), np.concatenate(before)),
        "output_sqnr_db": found["sqnr_db"],
        "top1_accuracy": found["top1_accuracy"],
        "top1_agreement": found["top1_agreement"],
    }
