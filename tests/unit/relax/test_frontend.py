"""Layers carry the paths of PyTorch's modules."""

import numpy as np
import pytest
import torch
from torch import nn
from tvm.relax.frontend.torch import from_exported_program

from bitsweep.relax import NotQuantizable, QConfig, canonicalise, graph, op, quantize
from bitsweep.relax.frontend import parameters
from tests.unit.relax import compiled

IMAGES = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)


class Network(nn.Module):
    """A norm before its convolution, a layer used twice, weights of no module."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.plain_norm = nn.BatchNorm2d(4, affine=False)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.in_proj_weight = nn.Parameter(torch.randn(4, 4))
        self.head = nn.Linear(4, 4)
        self.loose = nn.Parameter(torch.randn(4, 4, 1, 1))

    def forward(self, x):
        x = torch.relu(self.norm(x))
        x = torch.relu(self.body(x))
        x = torch.relu(nn.functional.conv2d(x, self.loose))
        x = torch.relu(nn.functional.linear(x.mean((2, 3)), self.in_proj_weight))
        return self.head(torch.relu(self.head(x)))


@pytest.fixture(scope="module")
def exported():
    torch.manual_seed(0)
    return torch.export.export(Network().eval(), (torch.from_numpy(IMAGES[:1]),))


@pytest.fixture(scope="module")
def canonical(exported):
    module = from_exported_program(
        exported, keep_params_as_input=True, unwrap_unit_return_tuple=True
    )
    return canonicalise(module, parameters(exported))


def layers(mod):
    values = [binding.value for binding in graph.bindings(graph.main_of(mod))]
    return [v.attrs["name"] for v in values if op.is_call(v, "bitsweep.conv2d")]


def test_layers_are_named_by_the_paths_of_their_weights(canonical):
    assert layers(canonical) == [
        *("norm", "body.0", "loose"),
        *("in_proj", "head", "head#2"),
    ]


def test_names_survive_another_canonicalisation(canonical):
    assert layers(canonicalise(canonical)) == layers(canonical)


def test_what_is_computed_is_what_pytorch_computes(exported, canonical, target):
    with torch.no_grad():
        expected = [exported.module()(torch.from_numpy(image)).numpy() for image in IMAGES[:, None]]
    actual = compiled.outputs(canonical, IMAGES, target)
    np.testing.assert_allclose(actual, np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_a_name_of_before_is_refused_with_the_one_of_now(canonical, target):
    with pytest.raises(NotQuantizable, match="called as in PyTorch: 'conv2d_1' is 'loose'"):
        quantize(canonical, QConfig(skip_layers=("conv2d_1",)), IMAGES, target)
    with pytest.raises(ValueError, match=r"no layer is called 'body\.1'; near it: body\.0"):
        quantize(canonical, QConfig(skip_layers=("body.1",)), IMAGES, target)


def test_a_layer_is_skipped_by_its_name(canonical, target):
    mod = quantize(canonical, QConfig(skip_layers=("body.0",), rounding="nearest"), IMAGES, target)
    assert layers(mod) == ["body.0"]
