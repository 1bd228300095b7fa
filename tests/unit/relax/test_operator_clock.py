"""Which layer each kernel is, in the order that they run in, by the weights that they read."""

import numpy as np
import pytest

from bitsweep.digits import residual_network
from bitsweep.engines.relax.layer_clock import LayerClock
from bitsweep.engines.relax.operator_clock import OperatorClock
from bitsweep.engines.relax.profile import operators
from bitsweep.relax import QConfig, graph, op, quantize
from bitsweep.relax.accounting import macs_of
from bitsweep.relax.compiler import build, lowered
from tests.unit.relax import torch_networks

FEW_BITS = QConfig(weight_bits=1, activation_bits=2, first_layer_bits=8, last_layer_bits=8)


@pytest.mark.parametrize("config", [QConfig(), FEW_BITS], ids=["w8a8", "w1a2"])
def test_operators_are_the_layers_that_their_weights_are_of(config, target):
    images = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)
    quantized = quantize(
        torch_networks.imported(residual_network().eval(), images), config, images, target
    )
    layers = [b.value for b in graph.bindings(quantized["main"]) if macs_of(b.value)]
    in_layouts = lowered(quantized, target)
    library = build(quantized, target)
    clock = OperatorClock(library, images[0])
    found = operators(clock.calls, layers)
    weights = {
        binding.value.attrs["name"]: graph.array(binding.value.args[1])
        for binding in graph.bindings(in_layouts["main"])
        if op.is_call(binding.value, "bitsweep.qconv2d")
    }
    own = [operator for operator in found if operator.layer]
    assert [operator.layer for operator in own] == list(
        LayerClock(library, weights, images[0]).time_layers()
    )
    assert sum(operator.macs for operator in own) == sum(map(macs_of, layers))
    assert own[-1].kind == "dense"
    for operator in own:
        if operator.arithmetic == "bits":
            assert operator.bit_products == 2 * operator.macs
    assert ("bits" in {operator.arithmetic for operator in own}) == (config == FEW_BITS)
    assert all(operator.macs is None for operator in operators(clock.calls, layers[1:]))
    answer = clock.run(images[1])
    clock.time_operators()
    assert [len(run) for run in clock.taken()] == [len(found)]
    assert np.array_equal(clock.run(images[1]), answer)
