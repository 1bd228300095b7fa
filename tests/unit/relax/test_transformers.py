"""Vision transformers through the quantizer: attention of the whole image and of windows."""

import numpy as np
import pytest
import torch
import tvm

from bitsweep.models import torchvision
from bitsweep.relax import PRESETS, canonicalise, coverage, graph, op, quantize
from tests.unit.relax import torch_networks
from tests.unit.relax.compiled import Exposed, outputs
from tests.unit.relax.test_bit_exact import require_bit_exact


def vit() -> torch.nn.Module:
    """Two heads, 17 tokens."""
    return torchvision().models.VisionTransformer(
        image_size=16,
        patch_size=4,
        num_layers=1,
        num_heads=2,
        hidden_dim=32,
        mlp_dim=64,
        num_classes=10,
    )


def swin() -> torch.nn.Module:
    """Windows of 3 × 3, the second layer's shifted."""
    return torchvision().models.SwinTransformer(
        patch_size=[2, 2],
        embed_dim=32,
        depths=[2],
        num_heads=[2],
        window_size=[3, 3],
        num_classes=10,
        stochastic_depth_prob=0,
    )


NETWORKS = {"vit": (vit, 16, 1), "swin": (swin, 12, 2)}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    """A transformer, images, and how many attentions it has."""
    build, size, attentions = request.param
    torch.manual_seed(0)
    made = build().eval()
    torch.nn.init.trunc_normal_(list(made.modules())[-1].weight, std=0.2)
    images = np.random.default_rng(0).standard_normal((4, 3, size, size)).astype(np.float32)
    return made, images, attentions


def calls(mod: tvm.IRModule, name: str) -> list:
    return [b.value for b in graph.bindings(mod["main"]) if op.is_call(b.value, name)]


def test_floats_answer_as_pytorch(network, target):
    made, images, attentions = network
    mod = canonicalise(torch_networks.imported(made, images))
    assert len(calls(mod, "bitsweep.attention")) == attentions
    assert not calls(mod, "relax.matmul") + calls(mod, "relax.nn.softmax")
    expected = torch_networks.answers(made, images)
    error = np.abs(outputs(mod, images, target) - expected).max()
    assert error <= 1e-4 * np.abs(expected).max()


def test_all_products_are_of_integers_to_the_bit(network, target):
    made, images, attentions = network
    quantized = quantize(torch_networks.imported(made, images), PRESETS["w8a8"], images, target)
    assert len(calls(quantized, "bitsweep.qattention")) == attentions
    covered = coverage(quantized)
    assert covered["integer_macs"] == covered["macs"]
    require_bit_exact(Exposed(quantized, target), [images[:1]])
    expected = torch_networks.answers(made, images)
    noise = outputs(quantized, images, target) - expected
    assert np.square(noise).sum() < 0.01 * np.square(expected - expected.mean(0)).sum()
