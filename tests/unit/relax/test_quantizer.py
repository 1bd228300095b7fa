"""The quantizer as a whole, against PyTorch and against what its docstrings promise."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import tvm
from torch import nn
from tvm import relax

from bitsweep.relax import (
    PRESETS,
    NotQuantizable,
    QConfig,
    coverage,
    graph,
    op,
    quantize,
    sensitivity,
)
from bitsweep.relax.ranges import Observer
from bitsweep.relax.transform import calibrate as calibration
from bitsweep.relax.transform.annotate import annotate
from bitsweep.relax.transform.canonicalise import canonicalise
from tests.unit.relax import interpreter, torch_networks
from tests.unit.relax.compiled import outputs

# Max 1960, uniform quantizers of a Gaussian, 1 to 8 bits.
GAUSSIAN_SQNR_DB = (4.40, 9.25, 14.27, 19.38, 24.57, 29.83, 35.13, 40.34)
NEAREST = QConfig(rounding="nearest")
# The least top-1 accuracy of digits: below the float network's by at most so much, or absolute.
BARS = {
    "w8a8": {"below": 0.005},
    "w4a8": {"below": 0.005},
    "w3a8": {"below": 0.01},
    "w4a4": {"below": 0.015},
    "w2a8": {"least": 0.98},
    "w1a8_ends8": {"least": 0.965},
    "w1a8": {"least": 0.96},
}


def network_of(*layers: nn.Module) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for layer in layers:
            for parameter in layer.parameters():
                nn.init.normal_(parameter, std=0.3)
        return nn.Sequential(*layers).eval()


def sqnr_db(signal, noisy) -> float:
    return float(10 * np.log10(np.sum(signal**2) / np.sum((signal - noisy) ** 2)))


def calls(mod: tvm.IRModule, name: str) -> list[relax.Expr]:
    return [b.value for b in graph.bindings(mod["main"]) if op.is_call(b.value, name)]


@pytest.fixture(scope="module")
def small():
    """Two layers, and images for them."""
    network = network_of(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    images = np.random.default_rng(0).standard_normal((3, 3, 5, 5)).astype(np.float32)
    return torch_networks.imported(network, images), images


# Against PyTorch.


def test_the_canonical_module_computes_what_pytorch_does(trained, imported, split, target):
    images = split["held_out"][:20]
    expected = torch_networks.answers(trained, images)
    actual = outputs(canonicalise(imported), images, target)
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


def test_the_canonical_mobile_network_computes_what_pytorch_does(target):
    network, images = torch_networks.mobile()
    expected = torch_networks.answers(network, images)
    actual = outputs(canonicalise(torch_networks.imported(network, images)), images, target)
    assert np.abs(actual - expected).max() <= 1e-4 * np.abs(expected).max()


def fake_quantized(mod: tvm.IRModule, images: np.ndarray) -> np.ndarray:
    """The module's scales and weights in PyTorch: fake quantization (Jacob et al. 2018, 3)."""
    values = {mod["main"].params[0]: torch.from_numpy(images)}

    def tensor(expr):
        return values[expr] if expr in values else torch.tensor(graph.array(expr))

    def convolved(call):
        attrs = op.attributes(call)
        data, weight, bias = map(tensor, call.args[:3])
        top, left, bottom, right = attrs["padding"]
        data = nn.functional.pad(data.permute(0, 3, 1, 2), (left, right, top, bottom))
        strides, dilation = attrs["strides"], attrs["dilation"]
        weight = weight.permute(0, 3, 1, 2)
        y = nn.functional.conv2d(data, weight, bias, strides, 0, dilation, attrs["groups"])
        y = y.permute(0, 2, 3, 1)
        if len(call.args) > 3:
            y = y + tensor(call.args[3])
        return y.clamp(attrs["clip_min"], attrs["clip_max"])

    def rounded(call):
        attrs = op.attributes(call)
        return torch.fake_quantize_per_tensor_affine(
            tensor(call.args[0]), attrs["scale"], attrs["zero_point"], 0, 2 ** attrs["bits"] - 1
        )

    def averaged(call):
        x = tensor(call.args[0]).permute(0, 3, 1, 2)
        return nn.functional.avg_pool2d(x, [int(size) for size in call.attrs.pool_size]).permute(
            0, 2, 3, 1
        )

    def scaled(call):
        integers, scales = (tensor(arg) for arg in call.args[:2])
        return integers * scales.reshape(-1, 1, 1, 1)

    operators = {
        "bitsweep.conv2d": convolved,
        "bitsweep.fake_quantize": rounded,
        "relax.nn.avg_pool2d": averaged,
        "relax.dequantize": scaled,
        "relax.permute_dims": lambda c: tensor(c.args[0]).permute(*map(int, c.attrs.axes)),
        "relax.reshape": lambda c: tensor(c.args[0]).reshape(len(images), *op.shape_of(c)[1:]),
    }
    for binding in graph.bindings(mod["main"]):
        call = binding.value
        is_call = isinstance(call, tvm.ir.Call)
        values[binding.var] = operators[call.op.name](call) if is_call else values[call]
    return values[mod["main"].body.body].numpy()


@pytest.mark.parametrize("preset", PRESETS)
def test_integers_read_digits_as_fake_quantization_does(simulated, compiled, split, preset):
    images = split["held_out"]
    answers = compiled(preset).answers(images)
    fake = fake_quantized(simulated(preset), images)
    assert np.mean(answers.argmax(axis=1) == fake.argmax(axis=1)) >= 0.995
    # Of most images every step is the same, and what differs is the rounding of scales and biases;
    # of the others a sum beside a half is rounded the other way, by one step.
    away = np.abs(answers - fake).max(axis=1) / np.abs(fake).max(axis=1)
    assert np.median(away) < 1e-3
    assert sqnr_db(fake, answers) > 55


@pytest.mark.parametrize("preset", PRESETS)
def test_digits_are_read_as_well_as_they_should(compiled, trained, split, preset):
    images, labels = split["held_out"], split["held_out_labels"]
    exact = np.mean(torch_networks.answers(trained, images).argmax(axis=1) == labels)
    bar = BARS[preset].get("least", exact - BARS[preset].get("below", 0))
    assert np.mean(compiled(preset).answers(images).argmax(axis=1) == labels) >= bar


def test_whether_its_tensors_are_seen_or_not_a_module_answers_alike(
    compiled, quantized, split, target
):
    images = split["held_out"][:20]
    seen = compiled("w2a8").answers(images)
    np.testing.assert_array_equal(outputs(quantized("w2a8"), images, target), seen)


def test_a_mobile_network_in_integers_answers_nearly_as_pytorch_does(target):
    network, images = torch_networks.mobile()
    mod = quantize(torch_networks.imported(network, images), QConfig(), images, target)
    expected = torch_networks.answers(network, images)
    assert sqnr_db(expected, outputs(mod, images, target)) > 20


@pytest.mark.parametrize("bias_correction", [False, True])
def test_bias_correction_keeps_a_layers_mean_output(target, bias_correction):
    network = network_of(nn.Conv2d(3, 16, 3, padding=1))
    images = 1 + np.random.default_rng(0).random((4, 3, 9, 9)).astype(np.float32)
    config = QConfig(weight_bits=2, rounding="nearest", bias_correction=bias_correction)
    mod = quantize(torch_networks.imported(network, images), config, images, target)
    expected = torch_networks.answers(network, images)
    means = (outputs(mod, images, target) - expected).mean(axis=(0, 2, 3))
    off = np.abs(means).max() / np.abs(expected).max()
    assert off < 2e-3 if bias_correction else off > 0.02


# What is stored.


@pytest.mark.parametrize("preset", PRESETS)
def test_stored_weights_have_no_more_levels_than_their_bits_and_are_packed(quantized, preset):
    layers = calls(quantized(preset), "bitsweep.qconv2d")
    assert len(layers) == 10
    config = PRESETS[preset]
    for index, call in enumerate(layers):
        bits = call.attrs["weight_bits"]
        ends = {0: config.first_layer_bits, 9: config.last_layer_bits}
        assert bits == (ends.get(index) or config.weight_bits)
        stored = graph.array(call.args[1])
        weight = interpreter.weight_of(call, stored)
        assert max(len(np.unique(channel)) for channel in weight) <= 2**bits
        outputs_, kh, kw, inputs = weight.shape
        # Rows of taps as one tap, where zeros are a weight that fills them up.
        fills = bits > 4 or kw * inputs % 4 == 0
        steps = kh * -(-kw * inputs // 4) if fills else kh * kw * -(-inputs // 4)
        per_byte = 8 // interpreter.container(bits)
        assert stored.nbytes == -(-outputs_ // 16) * 16 * 4 * -(-steps // per_byte)


def constants(mod: tvm.IRModule) -> list[bytes]:
    arguments = [
        arg
        for binding in graph.bindings(mod["main"])
        if isinstance(binding.value, tvm.ir.Call)
        for arg in binding.value.args
    ]
    arrays = [graph.array(arg) for arg in arguments]
    return [array.tobytes() for array in arrays if array is not None]


def test_quantizing_twice_gives_one_module_and_leaves_what_it_was_given(small, target):
    mod, images = small
    given, copy = constants(mod), images.copy()
    config = QConfig(weight_bits=3, activation_bits=6)
    one, again = (quantize(mod, config, images, target) for _ in range(2))
    tvm.ir.assert_structural_equal(one, again)
    assert constants(one) == constants(again)
    assert constants(mod) == given
    np.testing.assert_array_equal(images, copy)


@pytest.fixture(scope="module")
def gaussian_layer():
    """A layer of Gaussian weights (32, 512), and the same as a module."""
    layer = nn.Conv2d(512, 32, 1, bias=False)
    network = network_of(layer)
    images = np.ones((1, 512, 1, 1), np.float32)
    return (
        layer.weight.detach().numpy()[:, :, 0, 0],
        torch_networks.imported(network, images),
        images,
    )


@pytest.mark.parametrize("bits", range(1, 9))
def test_gaussian_weights_lose_what_the_textbook_says(gaussian_layer, target, bits):
    exact, mod, images = gaussian_layer
    config = QConfig(weight_bits=bits, rounding="nearest", weight_granularity="per_tensor")
    mod = quantize(mod, config, images, target)
    (integer,), (real,) = calls(mod, "bitsweep.qconv2d"), calls(mod, "relax.dequantize")
    (data,) = calls(mod, "relax.quantize")
    scales = graph.array(real.args[1]) / graph.array(data.args[1])
    weight = interpreter.weight_of(integer, graph.array(integer.args[1]))[:, 0, 0]
    measured = sqnr_db(exact, weight * scales[:, None])
    assert measured == pytest.approx(GAUSSIAN_SQNR_DB[bits - 1], abs=1)


@pytest.fixture(scope="module")
def gaussian(target):
    """SQNR, dB, of a Gaussian input of a layer, by bits and scheme; and that input."""
    images = np.random.default_rng(0).standard_normal((4, 4, 64, 64)).astype(np.float32)
    canonical = canonicalise(torch_networks.imported(network_of(nn.Conv2d(4, 4, 1)), images))

    def measured(bits, scheme):
        config = QConfig(activation_bits=bits, activation_scheme=scheme)
        mod = annotate(canonical, config)
        (mark,) = calls(mod, "bitsweep.fake_quantize")
        observer = Observer()
        observer.update(images)
        calibrated = calibration.calibrate(mod, config, {mark.attrs["name"]: observer})
        (mark,) = calls(calibrated, "bitsweep.fake_quantize")
        return sqnr_db(images, calibration.simulated(mark, images))

    return measured, images


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("bits", range(3, 9))
def test_gaussian_activations_lose_what_the_textbook_says(gaussian, bits, scheme):
    measured, _ = gaussian
    assert measured(bits, scheme) == pytest.approx(GAUSSIAN_SQNR_DB[bits - 1], abs=1)


@pytest.mark.parametrize("bits", [1, 2])
def test_of_few_levels_one_is_zero_and_the_others_lie_best(gaussian, bits):
    measured, images = gaussian

    def sqnr(scale, zero_point):
        steps = np.clip(np.rint(images / scale), -zero_point, 2**bits - 1 - zero_point)
        return sqnr_db(images, steps * scale)

    best = max(itertools.starmap(sqnr, itertools.product(np.linspace(0.3, 2, 60), range(2**bits))))
    assert measured(bits, "affine") == pytest.approx(best, abs=0.1)


# Odd channels, and what cannot be.


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_dead_channels_give_their_bias_and_disturb_nothing(target, bits, rounding):
    first, last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 1)
    network = network_of(first, nn.ReLU(), last)
    with torch.no_grad():
        first.weight[0] = 0
        first.bias[0] = 0
        first.weight[1] = 0
        first.bias[1] = 1.5
        # As pruned batch norms leave them: tiny beside the bias.
        for channel, factor in ((2, 1e-9), (3, 1e-20), (4, 1e-38)):
            first.weight[channel] *= factor
            first.bias[channel] = 0.75
        last.weight[:, 5:] = 0  # the dead ones alone are read
    config = QConfig(weight_bits=bits, last_layer_bits=8, rounding=rounding)
    images = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)
    expected = torch_networks.answers(network, images)
    mod = quantize(torch_networks.imported(network, images), config, images, target)
    actual = outputs(mod, images, target)
    assert np.isfinite(actual).all()
    assert np.abs(actual - expected).max() <= 0.02 * np.abs(expected).max()


def test_a_dead_input_quantizes(target):
    network = network_of(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
    images = np.zeros((2, 2, 5, 5), np.float32)
    mod = quantize(torch_networks.imported(network, images), NEAREST, images, target)
    expected = torch_networks.answers(network, images)
    actual = outputs(mod, images, target)
    assert np.abs(actual - expected).max() <= 0.02 * np.abs(expected).max()


def test_constant_inputs_quantize_by_the_second_order(target):
    network = network_of(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    for seed in range(5):
        pixel = np.random.default_rng(seed).random((1, 3, 1, 1))
        images = np.broadcast_to(pixel, (2, 3, 5, 5)).astype(np.float32)
        mod = torch_networks.imported(network, images)
        quantize(mod, QConfig(weight_bits=4), images, target)


def test_one_image_is_enough_to_calibrate_a_dense_layer_on(target):
    network = network_of(nn.Linear(6, 4))
    for seed in range(5):
        images = np.random.default_rng(seed).random((1, 6)).astype(np.float32)
        mod = torch_networks.imported(network, images)
        quantize(mod, QConfig(weight_bits=4), images, target)


def test_an_accumulator_that_32_bits_do_not_hold_is_refused(target):
    layer = nn.Linear(70_000, 2, bias=False)
    network = network_of(layer)
    nn.init.constant_(layer.weight, 1.0)
    images = np.ones((1, 70_000), np.float32)
    mod = torch_networks.imported(network, images)
    with pytest.raises(
        NotQuantizable, match=r"dense_0: its accumulator can reach 2\.27e\+09, more"
    ):
        quantize(mod, NEAREST, images, target)
    fewer_bits = quantize(mod, QConfig(weight_bits=7, rounding="nearest"), images, target)
    assert outputs(fewer_bits, images, target) == pytest.approx(70_000, rel=0.01)


@pytest.mark.parametrize(
    ("spoiled", "message"),
    [
        (lambda x: x[:0], "calibration set is empty"),
        (lambda x: [], "calibration set is empty"),
        (lambda x: np.where(x == x[0, 0, 0, 0], np.nan, x), "has NaN or infinities"),
        (lambda x: np.where(x == x[0, 0, 0, 0], np.inf, x), "has NaN or infinities"),
        (lambda x: x.astype(np.float64) * 1e300, "not finite"),
        (lambda x: x[:, :2], r"shape \(2, 5, 5\), the module takes \(3, 5, 5\)"),
        (lambda x: x[0], r"shape \(5, 5\), the module takes \(3, 5, 5\)"),
        (lambda x: x.astype(np.int32), "are int32, not float32"),
        (lambda x: x.astype(bool), "are bool, not float32"),
    ],
    ids=["none", "empty list", "NaN", "infinity", "float64", "shape", "an image", "int", "bool"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_bad_calibration_data_is_refused(small, target, spoiled, message):
    mod, images = small
    with pytest.raises(ValueError, match=message) as error:
        quantize(mod, NEAREST, spoiled(images), target)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["weight_bits", "activation_bits", "first_layer_bits"])
@pytest.mark.parametrize("bits", [0, 9, -1, 2.5, "8"])
def test_bits_that_there_are_not_are_refused(field, bits):
    with pytest.raises(ValueError, match=f"{field} = {bits!r}: allowed are 1 to 8"):
        QConfig(**{field: bits})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounding": "adaround"}, "rounding = 'adaround': allowed are nearest, gptq, binary"),
        ({"calibrate_mode": "max"}, "calibrate_mode = 'max': allowed are min_max,"),
        ({"percentile": 50.0}, "percentile = 50.0: allowed are"),
        ({"percentile": float("nan")}, "percentile = nan: allowed are"),
        ({"rounding": "binary"}, "rounding = 'binary' is for weight_bits = 1"),
        ({"layer_bits": ["fc"]}, r"layer_bits = \['fc'\]: allowed are bits by layer name"),
        ({"layer_bits": {"fc": (9, 8)}}, r"layer_bits\.fc = \(9, 8\): allowed are two numbers"),
        ({"layer_bits": {"fc": (8, 0)}}, r"layer_bits\.fc = \(8, 0\): allowed are two numbers"),
        ({"layer_bits": {"fc": 8}}, r"layer_bits\.fc = 8: allowed are two numbers"),
        (
            {"layer_bits": {"fc": (8, 8)}, "skip_layers": ("fc",)},
            r"layer_bits\.fc = \(8, 8\): skip_layers has that layer, which stays float",
        ),
    ],
)
def test_settings_that_there_are_not_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        QConfig(**settings)


@pytest.mark.parametrize("preset", PRESETS)
def test_bits_of_layers_that_are_a_presets_are_that_preset(
    quantized, imported, split, target, preset
):
    config = PRESETS[preset]
    uniform = quantized(preset)
    names = [call.attrs["name"] for call in calls(uniform, "bitsweep.qconv2d")]
    pairs = dict.fromkeys(names, (config.weight_bits, config.activation_bits))
    if config.first_layer_bits:
        ends = (config.first_layer_bits, config.first_layer_bits)
        pairs |= {names[0]: ends, names[-1]: ends}
    # Whatever they lie over.
    over = dataclasses.replace(
        config,
        weight_bits=1 if config.rounding == "binary" else 8,
        first_layer_bits=None,
        last_layer_bits=None,
        layer_bits=pairs,
    )
    planned = quantize(imported, over, split["train"][:64], target)
    assert constants(planned) == constants(uniform)
    tvm.ir.assert_structural_equal(planned, uniform)


def test_skipped_layers_that_are_one_string_are_refused():
    with pytest.raises(ValueError, match="skip_layers"):
        QConfig(skip_layers="conv2d_0")


def test_a_skipped_layer_that_there_is_not_is_refused_with_names_near_it(small, target):
    mod, images = small
    with pytest.raises(NotQuantizable, match="no layer is called 'conv_1'; near it: conv2d_1"):
        quantize(mod, QConfig(skip_layers=("conv_1",)), images, target)
    with pytest.raises(NotQuantizable, match="'stem'; near it: conv2d_0, conv2d_1"):
        quantize(mod, QConfig(skip_layers=("stem",)), images, target)


def test_a_network_without_layers_to_quantize_is_refused(small, target):
    mod, images = small
    with pytest.raises(NotQuantizable, match="nothing to quantize: every layer is skipped"):
        quantize(mod, QConfig(skip_layers=("conv2d_0", "conv2d_1")), images, target)
    pool = torch_networks.imported(nn.MaxPool2d(2).eval(), images)
    with pytest.raises(NotQuantizable, match="nothing to quantize: no convolution, no dense layer"):
        quantize(pool, NEAREST, images, target)


def test_weights_that_are_parameters_are_refused(target):
    builder = relax.BlockBuilder()
    parameters = [
        relax.Var("image", relax.TensorType((1, 3, 5, 5), "float32")),
        relax.Var("weight", relax.TensorType((4, 3, 3, 3), "float32")),
    ]
    with builder.function("main", parameters):
        with builder.dataflow():
            result = builder.emit_output(relax.op.nn.conv2d(*parameters))
        builder.emit_func_output(result)
    images = np.ones((1, 3, 5, 5), np.float32)
    with pytest.raises(ValueError, match=r"main takes 2 parameters.*BindParams"):
        quantize(builder.finalize(), NEAREST, images, target)


def test_a_module_without_main_or_of_several_images_is_refused(target):
    images = np.ones((2, 3, 5, 5), np.float32)
    with pytest.raises(ValueError, match="no function main"):
        quantize(tvm.IRModule({}), NEAREST, images, target)
    exported = torch.export.export(network_of(nn.Conv2d(3, 4, 3)), (torch.ones(2, 3, 5, 5),))
    mod = relax.frontend.torch.from_exported_program(exported, unwrap_unit_return_tuple=True)
    with pytest.raises(ValueError, match="takes 2 images at once"):
        quantize(mod, NEAREST, images, target)


# What of it runs in integers, and what each layer costs.


def test_coverage_counts_multiply_accumulates_and_what_stays_float(small, target):
    mod, images = small
    first, second = 4 * 3 * 9 * 9, 2 * 4 * 9  # a 3×3 image comes out
    counted = coverage(canonicalise(mod))
    assert counted["macs"] == first + second
    assert (counted["integer_macs"], counted["float_operators"]) == (0, {"conv2d": 2})
    counted = coverage(quantize(mod, NEAREST, images, target))
    assert counted == {
        "macs": first + second,
        "integer_macs": first + second,
        "float_operators": {},
        "mean_weight_bits": 8,
    }
    counted = coverage(quantize(mod, QConfig(skip_layers=("conv2d_0",)), images, target))
    assert (counted["macs"], counted["integer_macs"]) == (first + second, second)
    assert counted["float_operators"] == {"conv2d": 1}
    assert counted["mean_weight_bits"] == (4 * 27 * 32 + 2 * 4 * 8) / (4 * 27 + 2 * 4)


def test_mean_weight_bits_are_those_of_all_weights(small, target):
    mod, images = small
    bits = {"conv2d_0": (2, 8), "conv2d_1": (5, 8)}
    counted = coverage(quantize(mod, QConfig(layer_bits=bits), images, target))
    assert counted["mean_weight_bits"] == (4 * 27 * 2 + 2 * 4 * 5) / (4 * 27 + 2 * 4)
    assert coverage(mod)["mean_weight_bits"] is None


def test_sensitivity_has_a_row_of_every_quantized_layer(small, target):
    _, images = small
    network = network_of(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    mod = torch_networks.imported(network, images)
    answers = torch_networks.answers(network, images)
    labels = answers.argmax(axis=1)

    def rows(config, labels=labels):
        return sensitivity(mod, config, images, images, labels, answers, target)

    eight, two = rows(NEAREST), rows(QConfig(weight_bits=2, last_layer_bits=8))
    expected = {
        "layer": ["conv2d_0", "dense_0"],
        "macs": [4 * 9 * 27, 8],
        "weights": [4 * 27, 8],
    }
    for found in (eight, two):
        assert {key: [row[key] for row in found] for key in expected} == expected
    assert [row["weight_bits"] for row in two] == [2, 8]
    assert [row["input_bits"] for row in two] == [8, 8]
    for row in eight:
        assert row["sqnr_db"] > 30
        assert row["output_sqnr_db"] > 30
        assert row["top1_accuracy"] == row["top1_agreement"] == 1
    assert two[0]["sqnr_db"] < eight[0]["sqnr_db"] - 10
    skipping = rows(QConfig(rounding="nearest", skip_layers=("conv2d_0",)), labels=None)
    assert [row["layer"] for row in skipping] == ["dense_0"]
    assert skipping[0]["top1_accuracy"] is None


def test_sensitivity_settles_ties_and_tells_what_is_exact_as_the_metrics_do(small, target):
    _, images = small
    last = nn.Linear(4, 2)
    network = network_of(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    nn.init.zeros_(last.weight)
    nn.init.ones_(last.bias)  # every answer is a tie, quantized or not
    mod = torch_networks.imported(network, images)
    answers = torch_networks.answers(network, images)
    labels = np.zeros(len(images), int)
    for row in sensitivity(mod, NEAREST, images, images, labels, answers, target):
        assert (row["top1_accuracy"], row["top1_agreement"]) == (0, 0)
        assert row["output_sqnr_db"] is None
    assert row["sqnr_db"] is None
