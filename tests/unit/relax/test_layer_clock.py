"""Which kernel is which layer's, where layers are alike."""

import numpy as np
import pytest
import torch
from torch import nn

from bitsweep.engines.relax.layer_clock import LayerClock
from bitsweep.relax import QConfig, build, graph, op, quantize
from tests.unit.relax import torch_networks


@pytest.fixture(scope="module", params=["different", "equal"])
def alike(request, target):
    """Layers of one shape, of different weights or of the same: compiled, with weights in order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        if request.param == "equal":
            second.load_state_dict(first.state_dict())
        network = nn.Sequential(first, second, nn.Flatten()).eval()
        images = torch.randn(4, 4, 6, 6).numpy()
    mod = torch_networks.imported(network, images)
    mod = quantize(mod, QConfig(rounding="nearest", bias_correction=False), images, target)
    layers = [
        b.value for b in graph.bindings(mod["main"]) if op.is_call(b.value, "bitsweep.qconv2d")
    ]
    weights = [graph.array(layer.args[1]) for layer in layers]
    assert np.array_equal(*weights) == (request.param == "equal")
    return build(mod, target), weights, images


def test_a_layer_is_the_kernel_that_reads_its_weights(alike):
    library, (first, second), images = alike
    taken = LayerClock(library, {"a": first, "b": second}, images[0]).time_layers()
    assert list(taken) == ["a", "b"]
    assert min(taken.values()) > 0
    if not np.array_equal(first, second):
        swapped = LayerClock(library, {"a": second, "b": first}, images[0])
        assert list(swapped.time_layers()) == ["b", "a"]


class Answering(LayerClock):
    """One that keeps what the network answers to it."""

    def run_with(self, instrument):
        self.answer = super().run_with(instrument).numpy()[0]


def test_a_network_answers_the_same_while_its_layers_are_timed(alike):
    library, (first, second), images = alike
    clock = Answering(library, {"a": first, "b": second}, images[0])
    expected = clock.run(images[1])
    assert not np.array_equal(clock.answer, expected)  # to the other image
    clock.time_layers()
    assert np.array_equal(clock.answer, expected)


def test_a_layer_that_no_kernel_reads_is_an_error(alike):
    library, (first, _), images = alike
    with pytest.raises(ValueError, match="no kernel reads the weights of c"):
        LayerClock(library, {"a": first, "c": first + 1}, images[0])
