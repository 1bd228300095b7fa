"""Compiled modules against the interpreter, to the bit at every layer."""

import dataclasses
import re

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from tvm import relax

from bitsweep.relax import PRESETS, QConfig, graph, op, quantize
from bitsweep.relax.quantizer import simulate
from bitsweep.relax.transform.pack import pack
from bitsweep.relax.transform.realise import realise
from tests.unit.relax import interpreter, random_network, torch_networks
from tests.unit.relax.compiled import Exposed


def require_bit_exact(compiled: Exposed, images) -> None:
    """Every tensor of every image is the interpreter's."""
    for image in images:
        measured = compiled(image)
        expected = interpreter.interpret(compiled.module, image, measured)
        assert list(expected) == list(measured)
        for binding in compiled.tensors:
            name = binding.var.name
            message = f"{name} = {binding.value}"
            if interpreter.is_inexact(binding.value):
                reach = np.abs(expected[name]).max()
                error = np.abs(expected[name] - measured[name]).max()
                assert error <= 1e-5 * reach + 1e-30, message
            else:
                np.testing.assert_array_equal(measured[name], expected[name], message)


def require_a_network_bit_exact(network, realised, images, target) -> None:
    """Packed and compiled, on one of its images and on one that saturates."""
    quantized = pack(realised)
    saturating = 100 * network.random.standard_normal(images[:1].shape).astype(np.float32)
    require_bit_exact(Exposed(quantized, target), [images[:1], saturating])
    # Packing changes nothing but where weights are.
    plain, stored = (interpreter.interpret(mod, saturating) for mod in (realised, quantized))
    for one, other in zip(plain.values(), stored.values(), strict=True):
        np.testing.assert_array_equal(one, other)


# An example takes a second or two; explaining a failure, another of many.
@settings(
    max_examples=10,
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},
)
@given(random_network.networks(), random_network.configs(), st.data())
def test_random_networks(target, network, config, data):
    shape = op.shape_of(network.module["main"].params[0])[1:]
    images = network.random.standard_normal((4, *shape)).astype(np.float32)
    match data.draw(st.sampled_from(["normal", "dead channel", "dead", "positive", "large"])):
        case "dead channel":
            images[:, 0] = 0
        case "dead":
            images[:] = 0
        case "positive":
            images = np.abs(images)
        case "large":
            images *= 1e4
    layer_bits = data.draw(random_network.layer_bits(network, config))
    config = dataclasses.replace(config, layer_bits=layer_bits)
    try:
        realised = realise(simulate(network.module, config, images, target))
    except ValueError as error:
        # What 32 bits do not hold; nothing else may be refused.
        if not re.search("accumulator can reach|cannot be expressed", str(error)):
            raise
        reject()
    for binding in graph.bindings(realised["main"]):
        call = binding.value
        if op.is_call(call, "bitsweep.qconv2d") and call.attrs["name"] in layer_bits:
            assert call.attrs["weight_bits"] == layer_bits[call.attrs["name"]][0]
    require_a_network_bit_exact(network, realised, images, target)


HARD_CONFIGS = {
    "w1a8": QConfig(weight_bits=1),
    "w4a4": QConfig(weight_bits=4, activation_bits=4),
    "w8a7 symmetric": QConfig(activation_bits=7, activation_scheme="symmetric"),
}


@pytest.mark.parametrize("config", HARD_CONFIGS.values(), ids=HARD_CONFIGS)
@pytest.mark.parametrize("build", random_network.HARD.values(), ids=random_network.HARD)
def test_hard_networks(target, build, config):
    network = build()
    shape = op.shape_of(network.module["main"].params[0])[1:]
    images = network.random.standard_normal((4, *shape)).astype(np.float32)
    realised = realise(simulate(network.module, config, images, target))
    assert any(op.is_call(b.value, "bitsweep.qconv2d") for b in graph.bindings(realised["main"]))
    require_a_network_bit_exact(network, realised, images, target)


BYTE = st.integers(0, 255)
SCALING = st.tuples(st.integers(0, 2**31 - 1), st.integers(1, 62))


def _output(draw, shift: int) -> dict:
    low, high = sorted(draw(st.tuples(BYTE, BYTE)))
    ends = {"output_zero_point": draw(BYTE), "clip_min": low, "clip_max": high}
    return ends | {"shift": shift}


@st.composite
def integer_operators(draw) -> tvm.IRModule:
    """Sums, products, pools and tables with any attributes: also those no network leads to."""
    shape, small = (1, 5, 4, 19), (1, 1, 1, 19)
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    builder = relax.BlockBuilder()
    image = relax.Var("image", relax.TensorType(shape, "float32"))
    with builder.function("main", [image]):
        with builder.dataflow():

            def emit(name, arguments, **attrs):
                return builder.emit(op.call(name, arguments, attrs))

            one, zero = (relax.const(np.array(n, dtype)) for n, dtype in ((1, "f4"), (0, "u1")))
            x = builder.emit(relax.op.quantize(image, one, zero, axis=-1, out_dtype="uint8"))
            table = relax.const(random.integers(0, 256, 256).astype(np.uint8))
            y = emit("qlookup", [x, table])
            ends = {"a_zero_point": draw(BYTE), "b_zero_point": draw(BYTE)}
            (a, shift), (b, _) = draw(SCALING), draw(SCALING)
            scales = {"a_multiplier": a, "b_multiplier": -b if draw(st.booleans()) else b}
            emit("qadd", [x, y], **ends, **scales, **_output(draw, shift))
            other = relax.const(random.integers(0, 256, small).astype(np.uint8))
            for second in (y, other):
                multiplier, shift = draw(SCALING)
                output = _output(draw, shift)
                emit("qmultiply", [x, second], **ends, multiplier=multiplier, **output)
            multiplier, shift = draw(SCALING)
            last = emit(
                "qavg_pool2d",
                [x],
                pool_size=[3, 2],
                strides=[2, 1],
                padding=draw(st.lists(st.integers(0, 1), min_size=4, max_size=4)),
                input_zero_point=draw(BYTE),
                multiplier=multiplier,
                **_output(draw, shift),
            )
            result = builder.emit_output(last)
        builder.emit_func_output(result)
    return builder.finalize()


@settings(max_examples=15, phases=set(Phase) - {Phase.explain})
@given(integer_operators())
def test_integer_operators_of_any_attributes(target, mod):
    image = np.random.default_rng(0).integers(-20, 300, (1, 5, 4, 19)).astype(np.float32)
    require_bit_exact(Exposed(mod, target), [image])


def operators(mod: tvm.IRModule) -> set[str]:
    values = [binding.value for binding in graph.bindings(mod["main"])]
    return {value.op.name for value in values if isinstance(value, tvm.ir.Call)}


@pytest.mark.parametrize("preset", PRESETS)
def test_handwritten_digits(compiled, split, preset):
    require_bit_exact(compiled(preset), split["held_out"][:2, None])


@pytest.mark.parametrize(
    "config",
    [
        QConfig(rounding="nearest"),
        QConfig(weight_bits=3, activation_bits=5, activation_scheme="symmetric"),
        QConfig(weight_bits=1, weight_granularity="per_tensor", skip_layers=("conv2d_4",)),
    ],
    ids=["w8a8", "w3a5 symmetric", "w1a8, a layer in float"],
)
def test_a_mobile_network(target, config):
    network, images = torch_networks.mobile()
    quantized = quantize(torch_networks.imported(network, images), config, images, target)
    require_bit_exact(Exposed(quantized, target), [images[:1], 10 * images[1:2]])
    used = operators(quantized)
    assert used >= {f"bitsweep.q{name}" for name in ("conv2d", "add", "lookup")}
    assert ("bitsweep.conv2d" in used) == bool(config.skip_layers)
