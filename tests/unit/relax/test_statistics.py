"""Statistics of a float network: the same from a file, and the same result by them or without."""

import numpy as np
import pytest
import torch
import tvm
from torch import nn

from bitsweep.relax import PRESETS, QConfig, quantize
from bitsweep.relax.ranges import Observer
from bitsweep.relax.statistics import load, observe, save
from tests.unit.relax import torch_networks


class Network(nn.Module):
    """A residual addition, a concatenation, and a softmax, which stays float."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = nn.functional.relu(self.first(x))
        y = nn.functional.relu(self.second(x) + x.softmax(1))
        return self.head(torch.cat([x, y], 1).mean((2, 3)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((5, 3, 6, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def network(images):
    return torch_networks.imported(Network().eval(), images)


@pytest.mark.parametrize(
    "config",
    [
        PRESETS["w8a8"],
        PRESETS["w4a4"],
        QConfig(weight_bits=2, calibrate_mode="moving_average"),
        QConfig(calibrate_mode="percentile", activation_scheme="symmetric", rounding="nearest"),
        QConfig(calibrate_mode="kl_divergence", rounding="nearest"),
        QConfig(skip_layers=("conv2d_0",)),
    ],
    ids=["w8a8", "w4a4", "moving average", "percentile", "kl", "first layer float"],
)
def test_a_module_is_the_same_by_statistics_from_a_file(network, images, target, config, tmp_path):
    save(observe(network, images, target), tmp_path / "statistics.npz")
    shared = quantize(network, config, images, target, load(tmp_path / "statistics.npz"))
    tvm.ir.assert_structural_equal(shared, quantize(network, config, images, target))


def test_a_file_gives_back_what_was_seen(network, images, target, tmp_path):
    before = observe(network, images, target)
    save(before, tmp_path / "statistics.npz")
    after = load(tmp_path / "statistics.npz")
    assert list(after) == list(before)
    for name in before:
        old, new = before[name], after[name]
        assert new.moving == old.moving
        assert vars(new.histogram).keys() == vars(old.histogram).keys()
        for field, value in vars(old.histogram).items():
            assert np.array_equal(getattr(new.histogram, field), value), (name, field)


def test_the_input_is_among_what_was_seen(network, images, target):
    seen = observe(network, images, target)
    observer = Observer()
    observer.update(images)
    (of_input,) = {name for name in seen if name in ("x", "input")}
    assert seen[of_input].range("min_max") == observer.range("min_max")


def test_a_tensor_that_is_not_finite_is_left_out(target, images):
    class Divided(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return self.layer(x).relu().log().flatten(1)

    seen = observe(torch_networks.imported(Divided().eval(), images), images, target)
    assert seen
    assert all(np.isfinite(o.range("min_max")).all() for o in seen.values())
