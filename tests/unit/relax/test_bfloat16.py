"""Layers that multiply bfloat16: their kernels and whole networks against PyTorch."""

import ml_dtypes
import numpy as np
import pytest
import torch
import tvm
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from torch import nn
from tvm import relax

from bitsweep.relax import NotQuantizable, coverage, graph, in_bfloat16, op
from bitsweep.relax.accounting import layer_bytes
from bitsweep.relax.kernels import conv2d_bfloat16, packing
from bitsweep.relax.kernels.dot import has_bfloat16
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.transform import bfloat16
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.pack import pack
from tests.unit.relax import compiled, torch_networks
from tests.unit.relax.test_kernels_conv2d import GROUPED, STEM, convolutions, cpu, run
from tests.unit.relax.test_passes import conv, module, nhwc, normal, require_equal

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALF_A_STEP = 2.0**-8  # of a bfloat16, relative


def _runs_bfloat16() -> bool:
    system = tvm.target.codegen.llvm_get_system_cpu()
    return has_bfloat16(cpu(system))


ZEN4 = pytest.param(
    cpu("znver4"), marks=pytest.mark.skipif(not _runs_bfloat16(), reason="no vdpbf16ps"), id="pairs"
)
on_both = pytest.mark.parametrize("target", [ZEN4, pytest.param(cpu("x86-64-v3"), id="portable")])
# whole blocks of channels, read where they are
IN_PLACE = Conv2D(1, 5, 7, 32, 64, (1, 1))
LAST = Conv2D(1, 1, 1, 70, 10, (1, 1))
STRIDED = Conv2D(2, 6, 5, 4, 16, (1, 1), (2, 2))


def rounded(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).bfloat16().double()


def convolved(conv: Conv2D, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The sums of products of bfloat16, by PyTorch in float64."""
    top, left, bottom, right = conv.padding
    padded = torch.nn.functional.pad(rounded(x).permute(0, 3, 1, 2), (left, right, top, bottom))
    sums = torch.nn.functional.conv2d(
        padded,
        rounded(weight).permute(0, 3, 1, 2),
        stride=conv.strides,
        dilation=conv.dilation,
        groups=conv.groups,
    )
    return sums.permute(0, 2, 3, 1).numpy()


@on_both
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    conv=convolutions(),
    dtypes=st.tuples(*[st.sampled_from(["float32", "bfloat16"])] * 2),
    residual=st.booleans(),
    clip=st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0)]),
    cores=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@example(GROUPED, ("float32", "float32"), True, (0.0, 6.0), 2, 0)
@example(STEM, ("float32", "bfloat16"), False, (0.0, np.inf), 3, 1)
@example(STEM, ("bfloat16", "float32"), True, (0.0, np.inf), 1, 2)
@example(IN_PLACE, ("bfloat16", "bfloat16"), False, (0.0, np.inf), 2, 3)
@example(LAST, ("float32", "float32"), False, (-np.inf, np.inf), 1, 4)
@example(STRIDED, ("float32", "bfloat16"), False, (-np.inf, np.inf), 2, 5)
def test_sums_of_products_are_pytorchs(target, conv, dtypes, residual, clip, cores, seed):
    assume(not conv.depthwise)
    random = np.random.default_rng(seed)
    x = random.standard_normal(conv.input_shape, np.float32)
    weight = random.standard_normal(conv.weight_shape, np.float32)
    bias = random.standard_normal(conv.out_channels, np.float32)
    expected = convolved(conv, x, weight) + bias
    joined = weight.astype(BFLOAT16).reshape(conv2d_bfloat16.joined(conv).weight_shape)
    arrays = [x.astype(dtypes[0]), packing.pack_bfloat16(joined, conv.groups), bias]
    if residual:
        arrays.append(random.standard_normal(conv.output_shape, np.float32))
        expected = expected + arrays[-1]
    arrays.append(np.zeros(conv.output_shape, dtypes[1]))
    sized = tvm.target.Target({**target.export(), "num-cores": cores})
    function = conv2d_bfloat16.kernel(
        *(conv,),
        input_dtype=dtypes[0],
        output_dtype=dtypes[1],
        residual=residual,
        clip=clip,
        target=sized,
    )
    actual = run(function, sized, arrays)
    assert actual.dtype == dtypes[1]
    near = 1e-4 + (HALF_A_STEP if dtypes[1] == "bfloat16" else 0)
    np.testing.assert_allclose(
        actual.astype(np.float64), np.clip(expected, *clip), rtol=near, atol=1e-4
    )


@on_both
def test_what_is_read_is_rounded_as_pytorch_rounds(target):
    """To nearest, ties to even; infinities, and what is no number, stay that."""
    random = np.random.default_rng(0)
    words = random.integers(0, 2**32, 4096, np.uint32)
    ties = words & 0xFFFF0000 | 0x8000
    special = np.array([0x7F800000, 0xFF800000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7F7FFFFF])
    x = np.concatenate([words, ties, special.astype(np.uint32)]).view(np.float32)
    x = x[~(np.abs(x) < 2 * np.finfo(np.float32).tiny)]  # what is less may count as 0
    conv = Conv2D(1, 1, len(x), 1, 16, (1, 1))
    function = conv2d_bfloat16.kernel(
        *(conv,),
        input_dtype="float32",
        output_dtype="float32",
        residual=False,
        clip=(-np.inf, np.inf),
        target=target,
    )
    weight = packing.pack_bfloat16(np.ones(conv.weight_shape, BFLOAT16), 1)
    arrays = [x.reshape(conv.input_shape), weight, np.zeros(16, np.float32)]
    actual = run(function, target, [*arrays, np.zeros(conv.output_shape, np.float32)])
    expected = torch.from_numpy(x).bfloat16().float().numpy()
    for channel in (0, 15):
        np.testing.assert_array_equal(actual[0, 0, :, channel], expected)


@on_both
def test_what_is_written_is_rounded_as_pytorch_rounds(target):
    """A bias that no bfloat16 holds is added to a product that is 0."""
    conv = Conv2D(1, 1, 1, 2, 4096, (1, 1))
    bias = np.random.default_rng(0).standard_normal(4096, np.float32)
    bias[::2] = (bias[::2].view(np.uint32) & 0xFFFF0000 | 0x8000).view(np.float32)  # ties
    function = conv2d_bfloat16.kernel(
        *(conv,),
        input_dtype="bfloat16",
        output_dtype="bfloat16",
        residual=False,
        clip=(-np.inf, np.inf),
        target=target,
    )
    weight = packing.pack_bfloat16(np.ones(conv.weight_shape, BFLOAT16), 1)
    arrays = [np.zeros(conv.input_shape, BFLOAT16), weight, bias]
    actual = run(function, target, [*arrays, np.zeros(conv.output_shape, BFLOAT16)])
    expected = torch.from_numpy(bias).bfloat16().float().numpy()
    np.testing.assert_array_equal(actual.reshape(-1).astype(np.float32), expected)


def test_packed_weights_lie_where_the_kernels_read_them():
    random = np.random.default_rng(0)
    weight = random.standard_normal((36, 3, 2, 5)).astype(BFLOAT16)
    packed = packing.pack_bfloat16(weight, 2)
    assert packed.dtype == BFLOAT16
    assert packed.shape == packing.packed_bfloat16_shape(weight.shape, 2) == (2, 2, 18, 16, 2)
    for o, i, j, c in ((0, 0, 0, 0), (17, 2, 1, 4), (18, 1, 0, 3), (35, 2, 1, 1)):
        group, channel = divmod(o, 18)
        step = (i * 2 + j) * 3 + c // 2
        assert packed[group, channel // 16, step, channel % 16, c % 2] == weight[o, i, j, c]
    assert np.count_nonzero(packed) == np.count_nonzero(weight)  # 0 where there is none


@pytest.mark.parametrize(("name", "has"), [("znver4", True), ("x86-64-v3", False)])
def test_two_are_multiplied_at_a_time_where_the_target_can(name, has):
    target = cpu(name)
    function = conv2d_bfloat16.kernel(
        Conv2D(1, 4, 4, 32, 32, (1, 1)),
        input_dtype="float32",
        output_dtype="float32",
        residual=False,
        clip=(-np.inf, np.inf),
        target=target,
    )
    built = tvm.tirx.build(function.with_attr("global_symbol", "main"), target)
    assert has_bfloat16(target) == has
    assembly = built.inspect_source("asm")
    assert ("vdpbf16ps" in assembly) == has
    assert "dot_bfloat16" not in assembly  # it is inlined


def as_bfloat16(call: relax.Expr, **attrs) -> relax.Expr:
    """A convolution with its weights as bfloat16."""
    weight = relax.const(graph.array(call.args[1]).astype(BFLOAT16))
    arguments = [call.args[0], weight, *call.args[2:]]
    return op.call("conv2d", arguments, op.attributes(call) | attrs)


def test_layers_hand_bfloat16_on_where_only_layers_read_it():
    first, second, last = normal(8, 4, 3, 3), normal(8, 8, 1, 1), normal(6, 8, 1, 1)
    depthwise, bias = normal(8, 1, 1, 1), normal(8)
    handed_on = {"out_dtype": "bfloat16"}

    def body(layer, emit, image):
        a = emit(layer(conv(nhwc(emit, image), first, bias, name="a"), **handed_on))
        b = emit(layer(conv(a, second, bias, name="b")))
        c = emit(conv(b, depthwise, bias, name="c", groups=8))
        d = emit(layer(conv(c, second, bias, b, name="d"), **handed_on))
        return emit(layer(conv(d, last, bias[:6], name="e")))

    before = module(lambda emit, image: body(lambda call, **_: call, emit, image))
    expected = module(lambda emit, image: body(as_bfloat16, emit, image))
    require_equal(bfloat16.in_bfloat16(before), expected)


@pytest.fixture(scope="module")
def small():
    """An untrained network of convolutions of all kinds, images, and its canonical module."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(3, 20, 3, stride=2, padding=1), nn.ReLU6()),
            *(nn.Conv2d(20, 20, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(20, 20, 3, padding=1, groups=20), nn.Conv2d(20, 33, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(33, 7)),
        ).eval()
        images = torch.randn(4, 3, 11, 14).numpy()
    return network, images, canonicalise(torch_networks.imported(network, images))


def test_a_network_answers_nearly_as_pytorch_does(small, target):
    network, images, canonical = small
    mod = in_bfloat16(canonical)
    actual = compiled.outputs(mod, images, target)
    expected = torch_networks.answers(network, images)
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert 1e-5 < error < 0.01

    def in_float32_between(binding):
        value = binding.value
        if not op.is_call(value, "bitsweep.conv2d"):
            return value
        attrs = op.attributes(value)
        told.append(attrs.pop("out_dtype", None))
        return op.call("conv2d", value.args, attrs)

    told = []
    apart = graph.rebuilt(mod, in_float32_between)
    assert told == ["bfloat16", None, None, None, None]
    np.testing.assert_array_equal(compiled.outputs(apart, images, target), actual)


def test_weights_take_half_the_bytes(small):
    _, _, canonical = small
    mod = in_bfloat16(canonical)
    told, before = layer_bytes(mod), layer_bytes(pack(canonical))
    ratios = [size / before[name] for name, size in told.items()]
    assert ratios.pop(2) == 1  # of the depthwise layer
    assert all(0.5 < ratio < 0.6 for ratio in ratios)  # biases are what they were
    found = coverage(mod)
    weights, of_depthwise = 20 * 27 + 20 * 10 * 9 + 20 * 33 + 33 * 7, 20 * 9
    bits = (16 * weights + 32 * of_depthwise) / (weights + of_depthwise)
    assert found["mean_weight_bits"] == pytest.approx(bits)
    assert found["integer_macs"] == 0
    assert found["float_operators"] == coverage(canonical)["float_operators"]


def test_a_module_without_a_layer_is_refused():
    nothing = module(lambda emit, image: emit(relax.op.nn.relu(image)))
    with pytest.raises(NotQuantizable, match="no layer to multiply bfloat16 in"):
        in_bfloat16(nothing)
