"""Try plans: what the network answers with these bits in its layers, really quantized."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import tvm

from bitsweep import metrics
from bitsweep.relax import graph, op
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.machine import host
from bitsweep.relax.simulation import Simulation
from bitsweep.relax.statistics import Statistics, observe
from bitsweep.relax.transform.annotate import annotate
from bitsweep.relax.transform.calibrate import calibrate
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.round_weights import round_weights

_FIGURES = ("top1_accuracy", "top1_agreement", "images_gained", "images_lost")


class Trial:
    """A network whose layers can be given other bits again and again, and be judged on images.

    What `quantize` would do is done in floats (`simulate`): with the rounding of weights, and all
    other layers quantized too. The network is compiled once; a plan costs its rounding and a pass
    over the images.

    `images` are float32 (N, …), `answers` (N, classes) what the float network gives them, `labels`
    (N,) if known; the other arguments, and what is raised, are those of `quantize`.
    """

    def __init__(
        self,
        mod: tvm.IRModule,
        config: QConfig,
        calibration_data: np.ndarray,
        images: np.ndarray,
        answers: np.ndarray,
        labels: np.ndarray | None = None,
        target: tvm.target.Target | None = None,
        statistics: Statistics | None = None,
    ):
        self.config = config
        self.calibration = graph.images_of(mod, calibration_data)
        self.images, self.answers, self.labels = graph.images_of(mod, images), answers, labels
        self.statistics = statistics or observe(mod, calibration_data, target)
        self.canonical = canonicalise(mod)
        self.annotated = annotate(self.canonical, config)
        self.evaluator = Evaluator(self.annotated, target or host())
        self._simulation = Simulation(self.annotated, target or host())

    def judge(self, layer_bits: Mapping[str, tuple[int, int]]) -> dict[str, float | int | None]:
        """Return what the network with these bits (of weights, of input) of its layers comes to.

        `error` is the mean KL divergence of its answers from the float network's, `loss` their
        cross entropy, both in nats, `top1_accuracy` and `top1_agreement` fractions, `images_gained`
        and `images_lost` as in `metrics.compare`. Without labels there are only error and
        agreement, and None for the others.
        """
        outputs = self.answer(layer_bits)
        found = metrics.compare(outputs, self.answers, self.labels)
        labelled = self.labels is not None
        return {
            "error": metrics.kl_divergence(outputs, self.answers),
            "loss": metrics.cross_entropy(outputs, self.labels) if labelled else None,
            **{name: found[name] for name in _FIGURES},
        }

    def answer(self, layer_bits: Mapping[str, tuple[int, int]]) -> np.ndarray:
        """Return the answers, (N, classes), with these bits in the network's layers."""
        config = dataclasses.replace(self.config, layer_bits=layer_bits)
        calibrated = calibrate(self._with_bits(config), config, self.statistics)
        rounded = round_weights(calibrated, config, self.calibration, self.evaluator)
        return self._simulation.answers(rounded, self.images)

    def _with_bits(self, config: QConfig) -> tvm.IRModule:
        """The annotated module, of the same variables, with another configuration's bits."""
        pairs = []
        for ours, theirs in zip(
            graph.bindings(graph.main_of(self.annotated)),
            graph.bindings(graph.main_of(annotate(self.canonical, config))),
            strict=True,
        ):
            value = ours.value
            if op.is_quantized_layer(value) or op.is_call(value, "bitsweep.fake_quantize"):
                value = tvm.ir.Call(value.op, value.args, theirs.value.attrs)
            pairs.append((ours.var, value))
        return graph.with_bindings(self.annotated, pairs)
