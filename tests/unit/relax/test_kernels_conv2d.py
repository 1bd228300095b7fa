"""The convolution kernels against sums over the taps, and the packed layouts index by index."""

import itertools

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from tvm import relax

from bitsweep.relax.kernels import conv2d_float, conv2d_integer, packing, tiling
from bitsweep.relax.kernels.choice import choosing
from bitsweep.relax.kernels.dot import has_vnni
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.kernels.requantization import Requantization, in_words
from tests.unit.relax.interpreter import unpacked

BITS = st.integers(1, 8)
# a build takes a tenth of a second
few = settings(max_examples=25, suppress_health_check=list(HealthCheck))


def cpu(name: str) -> tvm.target.Target:
    return tvm.target.Target(
        {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": name, "num-cores": 2}
    )


def _runs_avx512() -> bool:
    features = tvm.target.codegen.llvm_get_cpu_features(
        tvm.target.Target(
            {
                "kind": "llvm",
                "mtriple": "x86_64-linux-gnu",
                "mcpu": tvm.target.codegen.llvm_get_system_cpu(),
            }
        )
    )
    return "avx512vnni" in features and "avx512vpopcntdq" in features


# several blocks of channels, the last one not full; groups; a few taps and channels of a step
DEPTHWISE = Conv2D(1, 7, 9, 35, 35, (3, 3), (1, 2), (1, 1, 1, 0), (1, 1), 35)
GROUPED = Conv2D(2, 5, 6, 18, 100, (2, 3), (2, 1), (0, 1, 2, 0), (2, 1), 2)
# of more steps than vectors in a tile, which are finished beside the next one's products
POINTWISE = Conv2D(2, 9, 21, 128, 100, (1, 1), (2, 2), (0, 0, 0, 0), (1, 1), 2)
STEM = Conv2D(1, 11, 12, 3, 48, (7, 7), (2, 2), (3, 3, 3, 3))

# whole blocks of channels, so that the image is read where it is; windows all of padding
DEPTHWISE_IN_PLACE = Conv2D(2, 9, 17, 32, 32, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 32)
DEPTHWISE_BEYOND = Conv2D(1, 3, 4, 16, 16, (3, 2), (2, 3), (4, 3, 5, 2), (1, 1), 16)

VNNI = pytest.param(
    cpu("znver4"), marks=pytest.mark.skipif(not _runs_avx512(), reason="no such AVX-512"), id="vnni"
)
PORTABLE = pytest.param(cpu("x86-64-v3"), id="portable")
on_both = pytest.mark.parametrize("target", [VNNI, PORTABLE])


@st.composite
def convolutions(draw) -> Conv2D:
    def pair(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    most = 4
    if draw(st.booleans()):
        groups = draw(st.integers(1, 3))
        inputs = groups * draw(st.sampled_from([1, 2, 3, 4, 5, 8, 12]))
        outputs = groups * draw(st.sampled_from([1, 3, 8, 16, 17, 31, 32, 50]))
    else:
        inputs = outputs = groups = draw(st.sampled_from([1, 5, 16, 35, 48]))
        most = 7  # two vectors of four rows
    if draw(st.booleans()):
        kernel, strides, dilation, padding = (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)
    else:
        kernel, strides, dilation = pair(1, most), pair(1, 3), pair(1, 2)
        padding = pair(0, 3) + pair(0, 3)
    height, width = draw(st.tuples(st.integers(1, 9), st.integers(1, 20)))
    assume(dilation[0] * (kernel[0] - 1) < height + padding[0] + padding[2])
    assume(dilation[1] * (kernel[1] - 1) < width + padding[1] + padding[3])
    batch = draw(st.integers(1, 2))
    return Conv2D(batch, height, width, inputs, outputs, kernel, strides, padding, dilation, groups)


def accumulate(conv: Conv2D, x, weight, padding_value, dtype):
    """The sums of products, by the definition of a convolution."""
    top, left, bottom, right = conv.padding
    spatial = [(0, 0), (top, bottom), (left, right), (0, 0)]
    x = np.pad(x.astype(dtype), spatial, constant_values=padding_value)
    sums = np.zeros(conv.output_shape, dtype)
    inputs, outputs = conv.inputs_per_group, conv.outputs_per_group
    for y, z, i, j, o in itertools.product(
        range(conv.out_height),
        range(conv.out_width),
        *map(range, conv.kernel),
        range(conv.out_channels),
    ):
        row = y * conv.strides[0] + i * conv.dilation[0]
        column = z * conv.strides[1] + j * conv.dilation[1]
        first = o // outputs * inputs
        pixels = x[:, row, column, first : first + inputs]
        sums[:, y, z, o] += pixels @ weight[o, i, j].astype(dtype)
    return sums


def requantize(sums, multiplier, shift, half, others, zero_point, clip):
    """In Python's integers, which have no width."""
    values = sums.astype(object) * multiplier.astype(object)
    for residual, residual_multiplier in others:
        values = values + residual.astype(object) * residual_multiplier.astype(object)
    values = (values + half.astype(object)) // 2 ** shift.astype(object) + zero_point
    return np.clip(values, *clip).astype(np.uint8)


def any_tile(random):
    """Kernels that are made in this context have any of their tiles, half of them the first."""
    return choosing(
        lambda kernel: kernel.tiles[random.choice([0, random.integers(len(kernel.tiles))])]
    )


def run(function, target, arrays):
    """Call a kernel on arrays, of which the last is the output; what it writes there."""
    module = tvm.tirx.build(function.with_attr("global_symbol", "main"), target)
    tensors = [tvm.runtime.tensor(np.ascontiguousarray(array)) for array in arrays]
    module["main"](*tensors)
    return tensors[-1].numpy()


def weights(random, bits, shape):
    if bits <= 4:
        return (2 * random.integers(0, 2**bits, shape) - 2**bits + 1).astype(np.int8)
    limit = 2 ** (bits - 1) - 1
    return random.integers(-limit, limit + 1, shape).astype(np.int8)


@on_both
@few
@given(
    conv=convolutions(),
    bits=BITS,
    output=st.sampled_from(["uint8", "int32", "residual"]),
    zero_points=st.tuples(*[st.integers(0, 255)] * 3),
    clip=st.tuples(st.integers(0, 255), st.integers(0, 255)).map(sorted),
    extreme=st.booleans(),
    least_shift=st.sampled_from([1, 24, 32]),
    by_words=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@example(
    conv=DEPTHWISE,
    bits=2,
    output="residual",
    zero_points=(3, 200, 9),
    clip=[4, 251],
    extreme=False,
    least_shift=32,
    by_words=True,
    seed=0,
)
@example(
    conv=DEPTHWISE_IN_PLACE,
    bits=8,
    output="residual",
    zero_points=(200, 7, 3),
    clip=[0, 255],
    extreme=True,
    least_shift=32,
    by_words=True,
    seed=4,
)
@example(
    conv=DEPTHWISE_BEYOND,
    bits=3,
    output="int32",
    zero_points=(131, 0, 0),
    clip=[0, 255],
    extreme=False,
    least_shift=1,
    by_words=False,
    seed=5,
)
@example(
    conv=GROUPED,
    bits=4,
    output="residual",
    zero_points=(250, 0, 128),
    clip=[0, 255],
    extreme=False,
    least_shift=24,
    by_words=True,
    seed=1,
)
@example(
    conv=Conv2D(1, 1, 40, 2, 31, (1, 1)),  # of a step
    bits=5,
    output="uint8",
    zero_points=(0, 0, 90),
    clip=[0, 255],
    extreme=False,
    least_shift=1,
    by_words=False,
    seed=7,
)
@example(
    conv=POINTWISE,
    bits=8,
    output="residual",
    zero_points=(0, 17, 100),
    clip=[3, 250],
    extreme=False,
    least_shift=24,
    by_words=True,
    seed=3,
)
@example(
    conv=STEM,
    bits=1,
    output="uint8",
    zero_points=(7, 0, 10),
    clip=[10, 200],
    extreme=False,
    least_shift=1,
    by_words=False,
    seed=2,
)
@example(
    conv=STEM,
    bits=8,
    output="uint8",
    zero_points=(114, 0, 0),
    clip=[0, 255],
    extreme=False,
    least_shift=32,
    by_words=True,
    seed=6,
)
def test_integers(
    target, conv, bits, output, zero_points, clip, extreme, least_shift, by_words, seed
):
    random = np.random.default_rng(seed)
    channels = conv.out_channels
    padding_value, residual_zero_point, output_zero_point = zero_points
    weight = weights(random, bits, conv.weight_shape)
    if extreme:  # what saturates 16 bits, and every multiplier and shift there is
        x = np.full(conv.input_shape, 255, np.uint8)
        weight = np.where(weight > 0, weight.max(), weight.min()).astype(np.int8)
        bias = random.choice([-(2**30), 2**30], channels).astype(np.int32)
        multiplier = random.choice([0, 1, 2**31 - 1], channels).astype(np.int32)
        shift = random.integers(least_shift, 63, channels).astype(np.int32)
    else:
        x = random.integers(0, 256, conv.input_shape).astype(np.uint8)
        bias = random.integers(-5000, 5000, channels).astype(np.int32)
        # beside a residual multipliers are small, and shifts less than 32
        most = 2**23 if least_shift == 24 else 2**31
        multiplier = random.integers(most // 2, most, channels).astype(np.int32)
        shift = np.full(channels, random.integers(24, 32), np.int32)
        if least_shift != 24:
            shift = random.integers(32, 42, channels).astype(np.int32)
    sums = accumulate(conv, x, weight, padding_value, np.int64) + bias
    expected = sums
    joined = weight.reshape(conv.joined(bits).weight_shape)
    arrays = [x, packing.pack_integer(joined, bits, conv.groups), bias]
    words = None
    if output != "int32":
        # a half, and a fraction of the accumulator's unit
        half = 2 ** (shift.astype(np.int64) - 1)
        half += np.rint(random.uniform(-0.5, 0.5, channels) * multiplier).astype(np.int64)
        others, of_residual, factors = [], [], [multiplier, shift, half]
        if output == "residual":
            residual = random.integers(0, 256, conv.output_shape).astype(np.uint8)
            by = np.full(channels, random.integers(0, 2**31), np.int32)
            of_residual, factors = [residual], [*factors, by]
            others = [(residual.astype(np.int64) - residual_zero_point, by)]
        points = dict(
            zip(("residual_zero_point", "output_zero_point"), zero_points[1:], strict=True)
        )
        if by_words and (found := in_words(*factors, **points)):
            factors, words = found
        assert words or not by_words or least_shift == 1 or (least_shift == 24 and extreme)
        arrays += [*factors[:3], *of_residual, *factors[3:]]
        expected = requantize(sums, multiplier, shift, half, others, output_zero_point, clip)
    out_dtype = "int32" if output == "int32" else "uint8"
    with any_tile(random):
        function = conv2d_integer.kernel(
            conv,
            weight_bits=bits,
            input_zero_point=padding_value,
            output=Requantization(
                out_dtype,
                residual_zero_point if output == "residual" else None,
                output_zero_point,
                tuple(clip),
                words=words,
            ),
            target=target,
        )
    arrays.append(np.zeros(conv.output_shape, out_dtype))
    np.testing.assert_array_equal(run(function, target, arrays), expected)


@on_both
@few
@given(
    conv=convolutions(),
    residual=st.booleans(),
    clip=st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 6.0), (-np.inf, 1.0)]),
    seed=st.integers(0, 2**32 - 1),
)
@example(conv=DEPTHWISE, residual=True, clip=(0.0, 6.0), seed=0)
@example(conv=DEPTHWISE_IN_PLACE, residual=False, clip=(0.0, 6.0), seed=3)
@example(conv=DEPTHWISE_BEYOND, residual=True, clip=(-np.inf, np.inf), seed=4)
@example(conv=GROUPED, residual=True, clip=(-np.inf, np.inf), seed=1)
@example(conv=STEM, residual=False, clip=(0.0, np.inf), seed=2)
def test_floats(target, conv, residual, clip, seed):
    random = np.random.default_rng(seed)
    x = random.standard_normal(conv.input_shape, np.float32)
    weight = random.standard_normal(conv.weight_shape, np.float32)
    bias = random.standard_normal(conv.out_channels, np.float32)
    expected = accumulate(conv, x, weight, 0, np.float64) + bias
    arrays = [x, packing.pack_float(weight, conv.groups), bias]
    if residual:
        arrays.append(random.standard_normal(conv.output_shape, np.float32))
        expected += arrays[-1]
    arrays.append(np.zeros(conv.output_shape, np.float32))
    with any_tile(random):
        function = conv2d_float.kernel(conv, residual=residual, clip=clip, target=target)
    actual = run(function, target, arrays)
    np.testing.assert_allclose(actual, np.clip(expected, *clip), rtol=1e-4, atol=1e-4)


SUMS = Requantization("int32", None, 0, (0, 255))


@on_both
@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("size", [(5, 1), (6, 2)])
def test_depthwise_tiles_of_any_number_of_cores(target, cores, size):
    random = np.random.default_rng(0)
    kernel, stride = size
    conv = Conv2D(*(1, 13, 15, 48, 48), (kernel, kernel), (stride, stride), (2, 2, 2, 2), groups=48)
    x = random.integers(0, 256, conv.input_shape).astype(np.uint8)
    weight = weights(random, 8, conv.weight_shape)
    bias = random.integers(-5000, 5000, 48).astype(np.int32)
    sized = tvm.target.Target({**target.export(), "num-cores": cores})
    function = conv2d_integer.kernel(
        conv, weight_bits=8, input_zero_point=77, output=SUMS, target=sized
    )
    packed = packing.pack_integer(weight, 8, 48)
    actual = run(function, sized, [x, packed, bias, np.zeros(conv.output_shape, np.int32)])
    np.testing.assert_array_equal(actual, accumulate(conv, x, weight, 77, np.int64) + bias)


@on_both
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_dense_layer(target, rows, bits):
    random = np.random.default_rng(0)
    conv = Conv2D(1, 1, rows, 130, 100, (1, 1))
    x = random.integers(0, 256, conv.input_shape).astype(np.uint8)
    weight = weights(random, bits, conv.weight_shape)
    bias = random.integers(-5000, 5000, 100).astype(np.int32)
    function = conv2d_integer.kernel(
        conv,
        weight_bits=bits,
        input_zero_point=0,
        output=SUMS,
        target=target,
    )
    packed = packing.pack_integer(weight, bits, 1)
    actual = run(function, target, [x, packed, bias, np.zeros(conv.output_shape, np.int32)])
    expected = x[0, 0].astype(np.int64) @ weight[:, 0, 0].astype(np.int64).T + bias
    np.testing.assert_array_equal(actual[0, 0], expected)


@on_both
def test_relax_calls_a_kernel(target):
    random = np.random.default_rng(0)
    conv = Conv2D(1, 6, 6, 8, 24, (3, 3), padding=(1, 1, 1, 1))
    function = conv2d_float.kernel(conv, residual=False, clip=(0.0, np.inf), target=target)
    arrays = [
        random.standard_normal(shape, np.float32)
        for shape in (conv.input_shape, conv.weight_shape, (conv.out_channels,))
    ]
    packed = [arrays[0], packing.pack_float(arrays[1], 1), arrays[2]]
    builder = relax.BlockBuilder()
    x, *constants = [relax.Var("x", relax.TensorType(conv.input_shape, "float32"))] + [
        relax.const(array) for array in packed[1:]
    ]
    with builder.function("main", [x]):
        with builder.dataflow():
            call = relax.call_tir(
                builder.add_func(function, "conv2d"),
                [x, *constants],
                relax.TensorType(conv.output_shape, "float32"),
            )
            result = builder.emit_output(builder.emit(call))
        builder.emit_func_output(result)
    machine = relax.VirtualMachine(tvm.compile(builder.get(), target), tvm.cpu())
    actual = machine["main"](tvm.runtime.tensor(packed[0])).numpy()
    expected = np.maximum(accumulate(conv, arrays[0], arrays[1], 0, np.float64) + arrays[2], 0)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "vnni"), [("znver4", True), ("x86-64-v3", False)])
def test_bytes_are_multiplied_four_at_a_time_where_the_target_can(name, vnni):
    target = cpu(name)
    function = conv2d_integer.kernel(
        Conv2D(1, 4, 4, 32, 32, (1, 1)),
        weight_bits=4,
        input_zero_point=0,
        output=SUMS,
        target=target,
    )
    module = tvm.tirx.build(function.with_attr("global_symbol", "main"), target)
    assert has_vnni(target) == vnni
    assert ("vpdpbusd" in module.inspect_source("asm")) == vnni


@given(BITS, st.sampled_from([(7, 3, 2, 5, 1), (36, 1, 1, 9, 2), (21, 3, 3, 1, 21)]), st.data())
def test_packed_integers_lie_where_the_kernels_read_them(bits, sizes, data):
    outputs, _, width, inputs, groups = sizes
    seed = data.draw(st.integers(0, 2**32 - 1))
    weight = weights(np.random.default_rng(seed), bits, sizes[:4])
    packed = packing.pack_integer(weight, bits, groups)
    assert packed.dtype == np.uint8
    assert packed.shape == packing.packed_integer_shape(weight.shape, bits, groups)
    np.testing.assert_array_equal(unpacked(packed, bits, weight.shape, groups), weight)
    np.testing.assert_array_equal(packing.unpack_integer(packed, sizes[:4], bits, groups), weight)
    container = {1: 1, 2: 2, 3: 4, 4: 4}.get(bits, 8)
    per, quads = 8 // container, -(-inputs // 4)
    o, i, j, c = data.draw(st.tuples(*(st.integers(0, n - 1) for n in sizes[:4])))
    if groups == outputs:
        tap = i * width + j
        byte, place = packed[o // 16, tap // per, o % 16], tap % per
    else:
        group, channel = divmod(o, outputs // groups)
        step = (i * width + j) * quads + c // 4
        byte, place = packed[group, channel // 16, step // per, channel % 16, c % 4], step % per
    code = int(byte) >> container * place & (2**container - 1)
    value = 2 * code - (2**bits - 1) if bits <= 4 else int(np.uint8(code).view(np.int8))
    assert value == weight[o, i, j, c]


def test_packing_pads_integers_with_zero():
    weight = np.full((17, 1, 1, 5), 15, np.int8)  # the greatest code in each place
    packed = packing.pack_integer(weight, 4, 1)
    assert packed.sum(dtype=int) == 17 * (4 * 0x0F + 0xF0)


def test_packed_floats_lie_where_the_kernels_read_them():
    weight = np.arange(2 * 18 * 3 * 2 * 5, dtype=np.float32).reshape(36, 3, 2, 5)
    packed = packing.pack_float(weight, 2)
    assert packed.shape == (2, 2, 30, 16)
    assert packed[1, 1, (2 * 2 + 1) * 5 + 3, 1] == weight[18 + 17, 2, 1, 3]
    assert not packed[:, 1, :, 2:].any()
    depthwise = packing.pack_float(weight.reshape(360, 3, 1, 1), 360)
    assert depthwise.shape == (23, 3, 16)
    assert depthwise[20, 2, 7] == weight.reshape(360, 3)[327, 2]


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_that_do_not_pack(bits):
    with pytest.raises(ValueError, match="1 to 8 bits"):
        packing.pack_integer(np.zeros((1, 1, 1, 1), np.int8), bits, 1)


@given(
    convolutions(),
    st.sampled_from([(8, False), (32, False), (32, True)]),
    st.integers(1, 4),
)
def test_tiles_cover_the_output_and_fit_in_registers(conv, available, cores):
    registers, pipelined = available
    channels = conv.out_channels if conv.depthwise else conv.outputs_per_group
    for tile in tiling.by_cost(conv, registers, cores, step=4, pipelined=pipelined):
        assert tile.pipelined == pipelined
        assert tile.rows <= conv.out_height and tile.columns <= conv.out_width
        assert tile.blocks <= -(-channels // 16)
        assert (len(tile.pixels) + 1) * tile.blocks + 1 <= registers
        assert tiling.tasks(conv, tile) * len(tile.pixels) * tile.blocks * 16 >= np.prod(
            conv.output_shape
        )
        for shares in {1, cores, tiling.shares_of_runs(conv, tile, cores)}:
            tasks, run = tiling.tasks(conv, tile, shares), tiling.run(conv, tile, shares)
            assert tasks >= tiling.tasks(conv, tile)
            assert tasks % (run * shares) == 0


def test_cores_have_pixels_of_their_own_where_weights_are_few():
    def square(size, channels):
        return Conv2D(1, size, size, channels, channels, (3, 3), padding=(1, 1, 1, 1))

    assert tiling.is_of_pixels(square(56, 64)) and not tiling.is_of_pixels(square(7, 512))
    # a stride beyond the window leaves inputs unread: 98 of 392 KB, beside 196 KB and 512 KB
    assert not tiling.is_of_pixels(Conv2D(1, 28, 28, 512, 1024, (1, 1), (2, 2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"groups": 3}, "do not divide"), ({"kernel": (6, 1)}, "larger than the padded image")],
)
def test_shapes_of_no_convolution(changes, message):
    sizes = {"batch": 1, "height": 5, "width": 5, "in_channels": 4, "out_channels": 4}
    with pytest.raises(ValueError, match=message):
        Conv2D(**{**sizes, "kernel": (1, 1), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out_dtype": "int8"}, "uint8 or int32"),
        ({"out_dtype": "int32", "residual_zero_point": 0}, "no residual"),
        ({"out_dtype": "int32", "output_planes": 2}, "no planes"),
        ({"clip": (9, 8)}, "no bounds"),
    ],
)
def test_outputs_that_there_are_not(changes, message):
    arguments = {
        "out_dtype": "uint8",
        "residual_zero_point": None,
        "output_zero_point": 0,
        "clip": (0, 255),
    }
    with pytest.raises(ValueError, match=message):
        Requantization(**{**arguments, **changes})
