"""What each layer costs at each number of bits: the error of the network's answers, and bytes."""

from collections.abc import Sequence

import numpy as np
import tvm
from tvm import relax

from bitsweep import metrics
from bitsweep.relax import graph, op
from bitsweep.relax.accounting import layer_bytes, layer_macs, layer_weights
from bitsweep.relax.config import QConfig
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.layerwise import Network
from bitsweep.relax.machine import host
from bitsweep.relax.quantizer import quantize_roughly
from bitsweep.relax.statistics import Statistics, observe
from bitsweep.relax.transform.annotate import annotate
from bitsweep.relax.transform.calibrate import calibrate, simulated
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.pack import pack


def layer_costs(
    mod: tvm.IRModule,
    config: QConfig,
    weight_bits: Sequence[int],
    input_bits: Sequence[int],
    calibration_data: np.ndarray,
    images: np.ndarray,
    target: tvm.target.Target | None = None,
    statistics: Statistics | None = None,
) -> list[dict]:
    """Return a row per layer that `config` quantizes, in the order of the graph.

    Every one of `weight_bits` is tried beside every one of `input_bits`, whatever the bits in
    `config`, from most to fewest. `images` are float32 (N, …); the other arguments and errors are
    those of `quantize`. A layer's weights and its input are rounded as `quantize` does, on
    calibration data that the float network brings there; everything else is float.

    A row has `layer`, `weights` (their number), `macs`, `bytes_float32` and `candidates`, each with
    `weight_bits`, `input_bits`, `error` (`metrics.kl_divergence` of the network's answers to
    `images` from the float network's, nats) and `bytes`. Bytes are those of the constants that the
    compiled module has for the layer: packed weights, bias, multipliers.
    """
    calibration = graph.images_of(mod, calibration_data)
    evaluation = graph.images_of(mod, images)
    if statistics is None:
        statistics = observe(mod, calibration_data, target)
    canonical = canonicalise(mod)
    weight_bits, input_bits = (
        sorted(set(bits), reverse=True) for bits in (weight_bits, input_bits)
    )

    # Whatever the bits, these modules have the same bindings at the same places.
    by_weights = {
        bits: _bindings(annotate(canonical, config.uniform(bits, input_bits[0])))
        for bits in weight_bits
    }
    bytes_at = {
        bits: layer_bytes(quantize_roughly(mod, config.uniform(bits, input_bits[0]), statistics))
        for bits in weight_bits
    }
    calibrated = [
        calibrate(annotate(canonical, config.uniform(weight_bits[0], bits)), config, statistics)
        for bits in input_bits
    ]
    by_inputs = dict(zip(input_bits, map(_bindings, calibrated), strict=True))
    evaluator = Evaluator(calibrated[0], target or host(), finishing=True)
    network = Network(_bindings(calibrated[0]), evaluator)
    (parameter,) = graph.main_of(calibrated[0]).params
    seen = [{parameter: image} for image in calibration]
    judged = [{parameter: image} for image in evaluation]
    answers = np.concatenate([evaluator.finish(-1, values, network.packed) for values in judged])
    float_bytes = layer_bytes(pack(canonical))
    rows = []
    for index, binding in enumerate(network.bindings):
        call = binding.value
        if op.is_quantized_layer(call):
            name = call.attrs["name"]
            place = network.place_of_mark(call.args[0])
            # Not every layer has the bits that are asked for.
            bytes_by_bits = {
                int(bindings[index].value.attrs["weight_bits"]): bytes_at[asked][name]
                for asked, bindings in by_weights.items()
            }
            candidates = []
            for bits_of_input, bindings in by_inputs.items():
                mark = bindings[place].value
                inputs = [simulated(mark, values[call.args[0]]) for values in judged]
                rounding = network.rounding(index, mark, seen)
                for bits, size in bytes_by_bits.items():
                    layer, _ = rounding.to(bits, config)
                    after = network.rounded_layer(index, layer, inputs, judged)
                    found = network.outputs(index, after, judged)
                    candidates.append(
                        {
                            "weight_bits": bits,
                            "input_bits": bits_of_input,
                            "error": metrics.kl_divergence(found, answers),
                            "bytes": size,
                        }
                    )
            rows.append(
                {
                    "layer": name,
                    "weights": layer_weights(call),
                    "macs": layer_macs(call),
                    "bytes_float32": float_bytes[name],
                    "candidates": sorted(candidates, key=_bits, reverse=True),
                }
            )
        for values in (*seen, *judged):
            network.step(index, values)
    return rows


def _bindings(mod: tvm.IRModule) -> list[relax.VarBinding]:
    return list(graph.bindings(graph.main_of(mod)))


def _bits(candidate: dict) -> tuple[int, int]:
    return candidate["weight_bits"], candidate["input_bits"]
