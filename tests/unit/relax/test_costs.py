"""What layers cost at each number of bits, held against the quantizer itself, a layer at a time."""

import dataclasses
import json

import pytest
import torch
import tvm
from torch import nn
from tvm.relax.analysis import post_order_visit

from bitsweep.relax import QConfig, layer_costs, quantize
from bitsweep.relax.accounting import layer_bytes
from bitsweep.relax.quantizer import simulate
from tests.unit.relax import torch_networks
from tests.unit.relax.compiled import outputs

WIDTHS = (8, 4, 3, 2, 1)


@pytest.fixture(scope="module")
def mobile():
    network, images = torch_networks.mobile()
    return torch_networks.imported(network, images), images


@pytest.fixture(scope="module")
def plain():
    """Layers with nothing between them that runs in integers because they do."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, groups=2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(8 * 36, 5)),
        ).eval()
        images = torch.randn(12, 3, 8, 8).numpy()
    return network, torch_networks.imported(network, images), images


def all_constants(mod: tvm.IRModule) -> int:
    """The bytes of every constant of a module, wherever it is."""
    sizes = []

    def visit(expr):
        if isinstance(expr, tvm.ir.GenericConst):
            sizes.append(expr.value.numpy().nbytes)

    post_order_visit(mod["main"], visit)
    return sum(sizes)


def test_rows_are_the_layers_and_candidates_fall_in_bits(mobile, target):
    mod, images = mobile
    rows = layer_costs(mod, QConfig(), (1, 8, 4), (4, 8), images, images, target)
    kinds = ["conv2d"] * 5 + ["dense"]
    assert [row["layer"].rsplit("_", 1)[0] for row in rows] == kinds
    assert [row["weights"] for row in rows] == [20 * 27, 20 * 25, 80, 80, 10 * 5 * 9, 140]
    for row in rows:
        bits = [(c["weight_bits"], c["input_bits"]) for c in row["candidates"]]
        assert bits == [(8, 8), (8, 4), (4, 8), (4, 4), (1, 8), (1, 4)]
        error = dict(zip(bits, (c["error"] for c in row["candidates"]), strict=True))
        assert error[8, 8] <= error[1, 8]
        assert min(error.values()) >= 0
    total = [sum(row["candidates"][i]["error"] for row in rows) for i in range(6)]
    assert total[0] < total[2] < total[4]  # fewer bits of weights
    assert total[0] < total[1]  # fewer bits of inputs


def check_bytes(mod, config, widths, images, target):
    """Bytes are those of `quantize`'s constants; what they leave out, the same at any width."""
    rows = layer_costs(mod, config, widths, (8,), images[:1], images[:1], target)
    rest = set()
    for place, bits in enumerate(widths):
        own = dataclasses.replace(config, weight_bits=bits, rounding="nearest")
        quantized = quantize(mod, own, images[:1], target)
        named = {row["layer"]: row["candidates"][place]["bytes"] for row in rows}
        found = layer_bytes(quantized)
        assert {name: found[name] for name in named} == named
        still_float = sum(found[name] for name in config.skip_layers)
        rest.add(all_constants(quantized) - still_float - sum(named.values()))
    assert len(rest) == 1
    return rest.pop()


def test_bytes_are_those_of_the_quantized_modules_constants(plain, target):
    _, mod, images = plain
    # of the image's scale and zero point, float32 and uint8
    assert check_bytes(mod, QConfig(), WIDTHS, images, target) == 4 + 1


def test_bytes_are_those_of_the_constants_of_depthwise_gated_and_skipped_layers(mobile, target):
    mod, images = mobile
    rest = check_bytes(mod, QConfig(skip_layers=("conv2d_1",)), (8, 1), images, target)
    assert 0 < rest < 2000  # tables, and what takes tensors to integers and back


def test_float_bytes_are_the_float_modules(mobile, target):
    mod, images = mobile
    rows = layer_costs(mod, QConfig(), (8,), (8,), images[:1], images[:1], target)
    lanes = {20: 32, 4: 16, 10: 2 * 16, 7: 16}
    outputs_of = [20, 20, 4, 20, 10, 7]
    inputs_of = [27, 25, 20, 4, 45, 20]
    expected = [4 * (lanes[o] * k + o) for o, k in zip(outputs_of, inputs_of, strict=True)]
    assert [row["bytes_float32"] for row in rows] == expected


def test_an_error_is_that_of_the_network_with_the_layer_quantized_alone(plain, target):
    network, mod, images = plain
    calibration, selection = images[:8], images[4:]
    config = QConfig()
    rows = layer_costs(mod, config, (2,), (8, 3), calibration, selection, target)
    names = [row["layer"] for row in rows]
    expected = torch.log_softmax(
        torch.from_numpy(torch_networks.answers(network, selection)).double(), 1
    )
    for row in rows:
        others = tuple(name for name in names if name != row["layer"])
        for candidate in row["candidates"]:
            alone = dataclasses.replace(
                config,
                weight_bits=candidate["weight_bits"],
                activation_bits=candidate["input_bits"],
                skip_layers=others,
            )
            found = outputs(simulate(mod, alone, calibration, target), selection, target)
            log_q = torch.log_softmax(torch.from_numpy(found).double(), 1)
            error = nn.functional.kl_div(log_q, expected, log_target=True, reduction="batchmean")
            assert candidate["error"] == pytest.approx(float(error), rel=1e-3, abs=1e-7)


def test_a_batch_norm_of_its_own_has_the_bits_that_it_keeps(target):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(4)
        norm.running_mean.normal_()
        network = nn.Sequential(norm, nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()).eval()
        images = torch.randn(4, 4, 5, 5).numpy()
    mod = torch_networks.imported(network, images)
    rows = layer_costs(mod, QConfig(), (4, 2), (8, 4), images, images, target)
    bits = [[(c["weight_bits"], c["input_bits"]) for c in row["candidates"]] for row in rows]
    assert bits == [[(8, 8), (8, 4)], [(4, 8), (4, 4), (2, 8), (2, 4)]]


def test_the_bits_of_the_config_do_not_matter(plain, target):
    _, mod, images = plain
    other = QConfig(weight_bits=2, activation_bits=3, first_layer_bits=5, last_layer_bits=6)
    first = layer_costs(mod, QConfig(), (4,), (8,), images[:4], images, target)
    second = layer_costs(mod, other, (4,), (8,), images[:4], images, target)
    assert json.dumps(first) == json.dumps(second)


def test_errors_are_the_quantizers(plain, target):
    _, mod, images = plain
    with pytest.raises(ValueError, match="no layer is called 'tail'"):
        layer_costs(mod, QConfig(skip_layers=("tail",)), (8,), (8,), images, images, target)
    with pytest.raises(ValueError, match="calibration images are of shape"):
        layer_costs(mod, QConfig(), (8,), (8,), images, images[:, :1], target)
