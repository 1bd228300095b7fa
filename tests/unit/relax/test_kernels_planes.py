"""Convolutions of bit planes against sums over the taps, and thresholds against requantization."""

import numpy as np
import pytest
import tvm
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tvm import relax

from bitsweep.relax import QConfig, graph, op
from bitsweep.relax.compiler import lowered
from bitsweep.relax.kernels import conv2d_planes, planes
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.kernels.requantization import Requantization, in_words
from bitsweep.relax.kernels.thresholds import Thresholds, thresholds
from bitsweep.relax.quantizer import simulate
from bitsweep.relax.transform.pack import pack
from bitsweep.relax.transform.realise import realise
from tests.unit.relax import interpreter, random_network
from tests.unit.relax.compiled import outputs
from tests.unit.relax.test_kernels_conv2d import (
    accumulate,
    any_tile,
    convolutions,
    cpu,
    few,
    on_both,
    requantize,
    run,
    weights,
)


def in_planes(x: np.ndarray, bits: int) -> np.ndarray:
    """The planes of (N,H,W,C), by their definition: channel c is bit c % 16 of half c // 16."""
    *pixels, channels = x.shape
    halves = 2 * -(-channels // 32)
    made = np.zeros((bits, *pixels, halves), np.uint16)
    for plane in range(bits):
        for c in range(channels):
            bit = (x[..., c] >> plane & 1).astype(np.uint16)
            made[plane, ..., c // 16] |= bit << np.uint16(c % 16)
    return made


@st.composite
def layers(draw) -> Conv2D:
    """Convolutions that the kernel serves: groups of whole words, and any channels without."""
    conv = draw(convolutions())
    assume(not conv.depthwise)
    if conv.groups == 1:
        return conv
    inputs = conv.groups * 32 * draw(st.integers(1, 2))
    outputs = conv.groups * 16 * draw(st.integers(1, 3))
    return Conv2D(
        *(conv.batch, conv.height, conv.width, inputs, outputs),
        *(conv.kernel, conv.strides, conv.padding, conv.dilation, conv.groups),
    )


@on_both
@few
@given(
    conv=layers(),
    bits=st.tuples(st.integers(1, 2), st.integers(1, 4)),
    residual_planes=st.sampled_from([None, None, 0, 1, 2, 3]),
    output_planes=st.integers(0, 4),
    levels=st.tuples(st.integers(0, 15), st.integers(0, 15)).map(sorted),
    cores=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@example(
    conv=Conv2D(1, 7, 9, 70, 50, (3, 3), (1, 2), (1, 1, 1, 0)),
    bits=(2, 2),
    residual_planes=2,
    output_planes=2,
    levels=[0, 3],
    cores=2,
    seed=0,
)
@example(
    conv=Conv2D(2, 5, 6, 128, 96, (2, 3), (2, 1), (0, 1, 2, 0), (2, 1), 2),
    bits=(1, 4),
    residual_planes=0,
    output_planes=4,
    levels=[2, 13],
    cores=1,
    seed=1,
)
@example(
    conv=Conv2D(1, 6, 20, 64, 256, (1, 1)),
    bits=(1, 1),
    residual_planes=None,
    output_planes=1,
    levels=[0, 1],
    cores=2,
    seed=2,
)
def test_planes(target, conv, bits, residual_planes, output_planes, levels, cores, seed):
    random = np.random.default_rng(seed)
    weight_bits, input_bits = bits
    channels = conv.out_channels
    target = tvm.target.Target({**target.export(), "num-cores": cores})
    clip = tuple(min(level, 2 ** (output_planes or 8) - 1) for level in levels)
    zero_point, padding_value = int(random.integers(-3, 18)), int(random.integers(2**input_bits))
    x = random.integers(0, 2**input_bits, conv.input_shape).astype(np.uint8)
    weight = weights(random, weight_bits, conv.weight_shape)
    bias = random.integers(-50, 50, channels).astype(np.int32)
    multiplier = random.integers(2**28, 2**31, channels).astype(np.int32)
    multiplier[random.random(channels) < 0.1] = 0
    shift = random.integers(random.choice([31, 33]), 38, channels).astype(np.int32)
    half = 2 ** (shift.astype(np.int64) - 1) + random.integers(-1000, 1000, channels)
    others, residuals, of_residual = [], {}, []
    if residual_planes is not None:
        residual = random.integers(0, 2 ** (residual_planes or 8), conv.output_shape)
        by = random.integers(random.choice([-(2**31), 0]), 2**31, channels).astype(np.int32)
        others = [(residual - 1, by)]
        residuals = {
            "residuals": range(-1, 2**residual_planes - 1),
            "residual_multiplier": by,
        }
        residual = residual.astype(np.uint8)
        of_residual = [in_planes(residual, residual_planes) if residual_planes else residual]
    sums = accumulate(conv, x, weight, padding_value, np.int64) + bias
    expected = requantize(sums, multiplier, shift, half, others, zero_point, clip)
    if output_planes:
        expected = in_planes(expected, output_planes)
    arrays = [
        in_planes(x, input_bits),
        planes.pack_planes(weight, weight_bits, conv.groups),
        conv2d_planes.bias_of_counts(bias, weight, weight_bits, input_bits),
    ]
    kinds = {"residual_planes": residual_planes or 0, "output_planes": output_planes}
    zero = None if residual_planes is None else 1
    factors, words = [multiplier, shift, half, *[by for _, by in others]], None
    points = {"residual_zero_point": zero or 0, "output_zero_point": zero_point}
    if found := in_words(*factors, **points):
        factors, words = found
    made = [
        (
            Requantization("uint8", zero, zero_point, clip, **kinds, words=words),
            [*factors[:3], *of_residual, *factors[3:]],
        )
    ]
    if output_planes and clip[0] < clip[1] and residual_planes != 0:
        table = thresholds(multiplier, shift, half, zero_point=zero_point, clip=clip, **residuals)
        made.append((Thresholds(clip, **kinds), [table, *of_residual]))
    assert conv2d_planes.serves(conv, weight_bits, input_bits, target)
    for output, arguments in made:
        with any_tile(random):
            kernel = conv2d_planes.kernel(
                conv,
                weight_bits=weight_bits,
                input_bits=input_bits,
                input_zero_point=padding_value,
                output=output,
                target=target,
            )
        garbage = np.full_like(expected, 9)
        actual = run(kernel, target, [*arrays, *arguments, garbage])
        np.testing.assert_array_equal(actual, expected)


@on_both
@few
@given(
    st.tuples(*[st.integers(1, 4)] * 3, st.integers(1, 70)),
    st.integers(1, 8),
    st.integers(0, 2**16),
)
def test_bytes_become_planes(target, shape, bits, seed):
    x = np.random.default_rng(seed).integers(0, 2**bits, shape).astype(np.uint8)
    expected = in_planes(x, bits)
    assert expected.shape == planes.planes_shape(shape, bits)
    arrays = [x, planes.shifts(bits), np.full_like(expected, 9)]
    np.testing.assert_array_equal(run(planes.kernel(shape, bits), target, arrays), expected)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 2), st.integers(1, 70)),
    st.integers(1, 4),
    st.data(),
)
def test_packed_planes_lie_where_the_kernels_read_them(sizes, bits, data):
    groups, outputs, width, inputs = sizes
    shape = (groups * outputs, 2, width, inputs)
    seed = data.draw(st.integers(0, 2**16))
    weight = weights(np.random.default_rng(seed), bits, shape)
    packed = planes.pack_planes(weight, bits, groups)
    assert packed.shape == planes.packed_planes_shape(shape, bits, groups)
    o, i, j, c = data.draw(st.tuples(*(st.integers(0, n - 1) for n in shape)))
    group, channel = divmod(o, outputs)
    step = (i * width + j) * planes.words(inputs) + c // 32
    words = packed[:, group, channel // 16, step, channel % 16]
    code = sum((int(word) >> c % 32 & 1) << plane for plane, word in enumerate(words))
    assert 2 * code - (2**bits - 1) == weight[o, i, j, c]
    # what stands for no channel counts nothing
    ones = sum(int(word).bit_count() for word in packed.reshape(-1))
    assert ones == sum(int(n).bit_count() for n in (weight.reshape(-1) + 2**bits - 1) // 2)


@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 62),
    st.integers(-(2**40), 2**40),
    st.integers(-300, 300),
    st.tuples(st.integers(0, 255), st.integers(0, 255)).map(sorted),
    st.tuples(st.integers(-255, 255), st.integers(-(2**31), 2**31 - 1)),
    st.integers(-(2**31) + 1, 2**31 - 1),
)
@example(0, 1, 1, 0, [0, 1], (0, 0), 2**31 - 1)
def test_an_integer_is_the_number_of_thresholds_below(
    multiplier, shift, half, zero_point, clip, added, accumulator
):
    residual, by = added
    scaling = [np.array([multiplier], np.int32), np.array([shift], np.int32), np.array([half])]
    by = np.array([by], np.int32)
    sums = np.array([accumulator])
    (expected,) = requantize(sums, *scaling, [(np.array([residual]), by)], zero_point, clip)
    ((table,),) = np.moveaxis(
        thresholds(
            *scaling,
            zero_point=zero_point,
            clip=tuple(clip),
            residuals=[residual],
            residual_multiplier=by,
        ),
        2,
        1,
    )
    assert np.all(np.diff(table.astype(np.int64)) >= 0)
    assert clip[0] + np.count_nonzero(accumulator > table) == expected


def test_a_multiplier_that_turns_the_order_has_no_thresholds():
    one = np.ones(1, np.int32)
    with pytest.raises(ValueError, match="not negative"):
        thresholds(-one, one, one.astype(np.int64), zero_point=0, clip=(0, 1))


@pytest.mark.parametrize(
    ("name", "bits", "pays"),
    [
        ("znver4", (1, 1), True),
        ("znver4", (2, 2), True),
        ("znver4", (2, 3), False),
        ("icelake-server", (1, 2), True),
        ("icelake-server", (2, 2), False),
        ("cascadelake", (1, 1), False),
        ("x86-64-v3", (2, 2), True),
    ],
)
def test_planes_pay_where_the_target_counts_faster_than_it_multiplies(name, bits, pays):
    assert conv2d_planes.pays(Conv2D(1, 4, 4, 64, 32, (1, 1)), *bits, cpu(name)) == pays


def test_bits_are_counted_by_an_instruction_where_the_target_has_it():
    conv = Conv2D(1, 4, 4, 64, 32, (1, 1))
    target = cpu("znver4")
    kernel = conv2d_planes.kernel(
        conv,
        weight_bits=1,
        input_bits=1,
        input_zero_point=0,
        output=Thresholds((0, 1), residual_planes=0, output_planes=1),
        target=target,
    )
    module = tvm.tirx.build(kernel.with_attr("global_symbol", "main"), target)
    assert "vpopcntd" in module.inspect_source("asm")


# Networks


def integers(network, config: QConfig, target):
    """The network in integers, packed, and images for it."""
    shape = op.shape_of(network.module["main"].params[0])[1:]
    images = network.random.standard_normal((3, *shape)).astype(np.float32)
    return pack(realise(simulate(network.module, config, images, target))), images


def few_bits(weight_bits: int, activation_bits: int, ends: int | None) -> QConfig:
    return QConfig(
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        first_layer_bits=ends,
        last_layer_bits=ends,
        rounding="nearest",
        calibrate_mode="min_max",
    )


def calls(mod, name):
    return [b.value for b in graph.bindings(mod["main"]) if op.is_call(b.value, name)]


@pytest.mark.parametrize("ends", [None, 8])
@pytest.mark.parametrize("bits", [(1, 1), (2, 2), (1, 4)])
@pytest.mark.parametrize("make", random_network.HARD.values(), ids=random_network.HARD)
def test_networks_on_planes_answer_to_the_bit(target, monkeypatch, make, bits, ends):
    monkeypatch.setattr(conv2d_planes, "pays", lambda *_: True)
    module, images = integers(make(), few_bits(*bits, ends), target)
    answers = outputs(module, images, target)
    for image, answer in zip(images, answers, strict=True):
        expected = list(interpreter.interpret(module, image[None]).values())[-1][0]
        assert np.abs(answer - expected).max() <= 1e-5 * np.abs(expected).max() + 1e-30


def grouped_residual(network):
    """What a convolution of planes reads is added to the sums of one of groups of 8 channels."""
    network.conv(24, (1, 1))
    network.activate("relu")
    before = network.last
    network.conv(24, (3, 3), padding=(1, 1, 1, 1))
    network.activate("relu")
    network.conv(24, (1, 1), groups=3)
    network.emit(relax.op.add(before, network.last))
    network.activate("relu")
    network.conv(5, (1, 1))


def test_a_residual_stays_bytes_where_groups_share_words(target, monkeypatch):
    monkeypatch.setattr(conv2d_planes, "pays", lambda *_: True)
    network = random_network.built(grouped_residual, 3, (5, 6))
    module, images = integers(network, few_bits(1, 2, None), target)
    answers = outputs(module, images, target)
    for image, answer in zip(images, answers, strict=True):
        expected = list(interpreter.interpret(module, image[None]).values())[-1][0]
        assert np.abs(answer - expected).max() <= 1e-5 * np.abs(expected).max()


def test_what_only_planes_read_is_never_bytes(target, monkeypatch):
    monkeypatch.setattr(conv2d_planes, "pays", lambda *_: True)
    module, _ = integers(random_network.HARD["residual"](), few_bits(1, 1, None), target)
    on_planes = lowered(module, target)
    convolutions = calls(on_planes, "bitsweep.qconv2d")
    assert all(call.attrs["input_planes"] == 1 for call in convolutions)
    definitions = {b.var: b.value for b in graph.bindings(on_planes["main"])}
    for made in calls(on_planes, "bitsweep.planes"):
        assert not op.is_call(definitions[made.args[0]], "bitsweep.qconv2d")
    assert any(call.attrs["output_planes"] for call in convolutions)
    assert any(op.attributes(call).get("by_thresholds") for call in convolutions)


def test_a_module_in_planes_is_built_as_it_is(target, monkeypatch):
    monkeypatch.setattr(conv2d_planes, "pays", lambda *_: True)
    module, images = integers(random_network.HARD["residual"](), few_bits(2, 2, 8), target)
    on_planes = lowered(module, target)
    np.testing.assert_array_equal(
        outputs(on_planes, images, target), outputs(module, images, target)
    )


def test_bytes_stay_where_planes_do_not_pay(target, monkeypatch):
    monkeypatch.setattr(conv2d_planes, "pays", lambda *_: False)
    module, _ = integers(random_network.HARD["residual"](), few_bits(1, 1, None), target)
    in_bytes = lowered(module, target)
    assert calls(in_bytes, "bitsweep.planes") == []
    assert not any("input_planes" in call.attrs for call in calls(in_bytes, "bitsweep.qconv2d"))
