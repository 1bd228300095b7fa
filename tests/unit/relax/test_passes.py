"""Each pass of the quantizer: a module before, and what it must be after."""

import numpy as np
import pytest
import torch
import tvm
from tvm import relax

from bitsweep.relax import NotQuantizable, QConfig, graph, op
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.ranges import Observer
from bitsweep.relax.transform.annotate import annotate, input_groups
from bitsweep.relax.transform.calibrate import calibrate
from bitsweep.relax.transform.canonicalise import canonicalise
from bitsweep.relax.transform.pack import pack
from bitsweep.relax.transform.realise import realise
from bitsweep.relax.transform.round_weights import round_weights
from tests.unit.relax import interpreter
from tests.unit.relax.fixed_point import multiplier_and_shift

RANDOM = np.random.default_rng(0)
NEAREST = QConfig(rounding="nearest", bias_correction=False, calibrate_mode="min_max")
RELU = (0.0, op.FLOAT_MAX)


def module(body, shape=(1, 4, 6, 6), name="image") -> tvm.IRModule:
    """A module whose `main` of one tensor is what `body(emit, tensor)` returns."""
    builder = relax.BlockBuilder()
    image = relax.Var(name, relax.TensorType(shape, "float32"))
    with builder.function("main", [image]):
        with builder.dataflow():
            result = builder.emit_output(body(builder.emit, image))
        builder.emit_func_output(result)
    return builder.finalize()


def require_equal(actual: tvm.IRModule, expected: tvm.IRModule) -> None:
    """Equal but for the names of variables and bindings of one variable to another."""
    plain = relax.transform.CanonicalizeBindings()
    tvm.ir.assert_structural_equal(plain(actual), plain(expected), map_free_vars=True)


def normal(*shape) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def const(array, dtype="float32") -> relax.Expr:
    return relax.const(np.asarray(array, dtype))


def conv(data, weight, bias, *more, name="conv2d_0", clip=op.NO_CLIP, groups=1, **attrs):
    """`bitsweep.conv2d` of weights (O, I, KH, KW), by their names in PyTorch."""
    weight = weight.transpose(0, 2, 3, 1)
    return op.call(
        "conv2d",
        [data, const(weight), const(bias), *more],
        {
            "name": name,
            "kernel_size": list(weight.shape[1:3]),
            "channels": len(weight),
            "strides": [1, 1],
            "padding": [0, 0, 0, 0],
            "dilation": [1, 1],
            "groups": groups,
            "clip_min": clip[0],
            "clip_max": clip[1],
            "packed": False,
            **attrs,
        },
    )


def nhwc(emit, image):
    return emit(relax.op.permute_dims(image, [0, 2, 3, 1]))


def nchw(emit, image):
    return emit(relax.op.permute_dims(image, [0, 3, 1, 2]))


def mark(emit, data, name, bits=8, **attrs):
    return emit(op.call("fake_quantize", [data], {"name": name, "bits": bits, **attrs}))


# Canonicalise.


def test_bias_batch_norm_and_relu_are_folded_and_images_become_nhwc():
    weight, bias = normal(8, 4, 3, 3), normal(8)
    gamma, beta, mean, variance = normal(8), normal(8), normal(8), np.abs(normal(8)) + 0.5

    def before(emit, image):
        x = emit(relax.op.nn.conv2d(image, const(weight), strides=2, padding=[1, 0, 2, 1]))
        x = emit(relax.op.add(x, emit(relax.op.reshape(const(bias), (1, 8, 1, 1)))))
        statistics = map(const, (gamma, beta, mean, variance))
        norm = emit(relax.op.nn.batch_norm(x, *statistics, axis=1, training=False))
        return emit(relax.op.nn.relu(emit(relax.TupleGetItem(norm, 0))))

    def after(emit, image):
        scale = 1 / np.sqrt(variance.astype(np.float64) + 1e-5) * gamma
        x = emit(
            conv(
                nhwc(emit, image),
                (weight * scale.reshape(-1, 1, 1, 1)).astype(np.float32),
                (bias * scale + (beta - mean.astype(np.float64) * scale)).astype(np.float32),
                clip=RELU,
                strides=[2, 2],
                padding=[1, 0, 2, 1],
            )
        )
        return nchw(emit, x)

    require_equal(canonicalise(module(before)), module(after))


def test_a_constant_factor_and_relu6_are_folded():
    weight = normal(3, 4, 1, 1)

    def before(emit, image):
        x = emit(relax.op.nn.conv2d(image, const(weight)))
        x = emit(relax.op.multiply(x, const(2.0)))
        x = emit(relax.op.subtract(x, const(0.5)))
        return emit(relax.op.clip(emit(relax.op.nn.relu(x)), -1, 6))

    def after(emit, image):
        x = nhwc(emit, image)
        return nchw(emit, emit(conv(x, 2 * weight, np.full(3, -0.5), clip=(0.0, 6.0))))

    require_equal(canonicalise(module(before)), module(after))


@pytest.mark.parametrize("flipped", [False, True])
def test_a_residual_joins_the_later_convolution(flipped):
    first, second = normal(4, 4, 1, 1), normal(4, 4, 1, 1)

    def before(emit, image):
        x = emit(relax.op.nn.relu(emit(relax.op.nn.conv2d(image, const(first)))))
        y = emit(relax.op.nn.conv2d(x, const(second)))
        return emit(relax.op.nn.relu(emit(relax.op.add(*((x, y) if flipped else (y, x))))))

    def after(emit, image):
        x = emit(conv(nhwc(emit, image), first, np.zeros(4), clip=RELU))
        y = emit(conv(x, second, np.zeros(4), x, name="conv2d_1", clip=RELU))
        return nchw(emit, y)

    require_equal(canonicalise(module(before)), module(after))


@pytest.mark.parametrize("flipped", [False, True])
def test_of_two_convolutions_that_of_more_weights_an_output_takes_the_other(flipped):
    wide, narrow = normal(4, 4, 3, 3), normal(4, 4, 1, 1)

    def before(emit, image):
        x = emit(relax.op.nn.conv2d(image, const(wide), padding=1))
        y = emit(relax.op.nn.conv2d(image, const(narrow)))
        return emit(relax.op.nn.relu(emit(relax.op.add(*((y, x) if flipped else (x, y))))))

    def after(emit, image):
        x = nhwc(emit, image)
        y = emit(conv(x, narrow, np.zeros(4), name="conv2d_1"))
        return nchw(emit, emit(conv(x, wide, np.zeros(4), y, padding=[1] * 4, clip=RELU)))

    require_equal(canonicalise(module(before)), module(after))


@pytest.mark.parametrize(
    "reader",
    [
        relax.op.nn.relu,
        lambda x: relax.op.add(x, const(1.0)),
        lambda x: relax.op.multiply(x, relax.op.sigmoid(x)),
    ],
    ids=["relu", "add a constant", "a function"],
)
def test_what_something_else_reads_is_not_folded(reader):
    weight = normal(4, 4, 1, 1)

    def before(emit, image):
        x = emit(relax.op.nn.conv2d(image, const(weight)))
        return emit(relax.op.concat([x, emit(reader(x))], axis=1))

    def after(emit, image):
        x = emit(conv(nhwc(emit, image), weight, np.zeros(4)))
        return nchw(emit, emit(relax.op.concat([x, emit(reader(x))], axis=3)))

    require_equal(canonicalise(module(before)), module(after))


def test_what_a_frontend_leaves_of_a_max_pool_goes():
    weight = normal(4, 4, 1, 1)

    def before(emit, image):
        x = emit(relax.op.nn.max_pool2d(image, [3, 3], [2, 2], [1, 1, 1, 1]))
        indices = emit(relax.op.zeros_like(x))
        x = emit(relax.TupleGetItem(emit(relax.Tuple([x, indices])), 0))
        return emit(relax.op.nn.conv2d(x, const(weight)))

    def after(emit, image):
        x = nhwc(emit, image)
        x = emit(relax.op.nn.max_pool2d(x, [3, 3], [2, 2], [1, 1, 1, 1], layout="NHWC"))
        return nchw(emit, emit(conv(x, weight, np.zeros(4))))

    require_equal(canonicalise(module(before)), module(after))


def test_a_batch_norm_of_its_own_is_a_depthwise_convolution():
    mean, variance = normal(4), np.abs(normal(4)) + 0.5

    def before(emit, image):
        statistics = map(const, (np.ones(4), np.zeros(4), mean, variance))
        norm = emit(relax.op.nn.batch_norm(image, *statistics, axis=1, training=False))
        return emit(relax.TupleGetItem(norm, 0))

    def after(emit, image):
        scale = 1 / np.sqrt(variance.astype(np.float64) + 1e-5)
        weight, bias = scale.reshape(4, 1, 1, 1), -mean.astype(np.float64) * scale
        return nchw(
            emit, emit(conv(nhwc(emit, image), weight, bias, name="batch_norm_0", groups=4))
        )

    require_equal(canonicalise(module(before)), module(after))


def test_a_global_mean_and_a_dense_layer():
    weight, bias = normal(5, 4), normal(5)

    def before(emit, image):
        x = emit(relax.op.mean(image, [-1, -2], keepdims=True))
        x = emit(relax.op.reshape(x, (1, 4)))
        x = emit(relax.op.matmul(x, emit(relax.op.permute_dims(const(weight), [1, 0]))))
        return emit(relax.op.add(const(bias), x))

    def after(emit, image):
        x = nhwc(emit, image)
        x = emit(relax.op.nn.avg_pool2d(x, [6, 6], [6, 6], layout="NHWC"))
        x = emit(conv(x, weight[:, :, None, None], bias, name="dense_0"))
        return emit(relax.op.reshape(x, (1, 5)))

    require_equal(canonicalise(module(before)), module(after))


def test_moves_that_change_no_order_are_one_reshape_or_nothing():
    def before(emit, image):
        x = emit(relax.op.nn.softmax(emit(relax.op.reshape(image, (4, 6, 6))), axis=-1))
        there = emit(relax.op.permute_dims(emit(relax.op.reshape(x, (2, 2, 6, 6))), [1, 0, 2, 3]))
        back = emit(relax.op.permute_dims(there, [1, 0, 2, 3]))
        y = emit(relax.op.nn.softmax(emit(relax.op.reshape(back, (8, 18))), axis=0))
        turned = emit(relax.op.reshape(emit(relax.op.permute_dims(y, [1, 0])), (12, 12)))
        return emit(relax.op.nn.softmax(turned, axis=0))

    def after(emit, image):
        x = emit(relax.op.nn.softmax(emit(relax.op.reshape(image, (4, 6, 6))), axis=-1))
        y = emit(relax.op.nn.softmax(emit(relax.op.reshape(x, (8, 18))), axis=0))
        turned = emit(relax.op.reshape(emit(relax.op.permute_dims(y, [1, 0])), (12, 12)))
        return emit(relax.op.nn.softmax(turned, axis=0))

    require_equal(canonicalise(module(before)), module(after))


def test_what_is_computed_of_constants_is_folded():
    table = normal(5, 2)

    def before(emit, image):
        steps = emit(relax.op.arange(0, 6, 1, "int64"))
        four, six = (relax.const(np.int64(number), "int64") for number in (4, 6))
        rolled = emit(relax.op.mod(emit(relax.op.add(steps, four)), six))
        x = emit(relax.op.take(image, rolled, axis=2))
        near = emit(relax.op.not_equal(const(np.eye(6)), const(0.0)))
        picked = emit(relax.op.take(const(table), const([1, 3, 0, 4, 2, 1], "int64"), axis=0))
        column = emit(relax.op.strided_slice(picked, [1], [-1], [9], [1]))
        zeros = emit(relax.op.full((6, 6), const(0.0), "float32"))
        scattered = emit(relax.op.slice_scatter(zeros, column, 2, 3, 1, axis=1))
        return emit(relax.op.add(x, emit(relax.op.where(near, const(-7.0), scattered))))

    def after(emit, image):
        x = emit(relax.op.take(image, const([4, 5, 0, 1, 2, 3], "int32"), axis=2))
        mask = np.zeros((6, 6), np.float32)
        mask[:, 2] = table[[1, 3, 0, 4, 2, 1], 1]
        mask[np.eye(6) == 1] = -7
        return emit(relax.op.add(x, const(mask)))

    require_equal(canonicalise(module(before)), module(after))


def attention_before(emit, x, scale, bias, *, guarded=False):
    """Self-attention of (windows, tokens, 3 · heads · size) as frontends write it."""
    windows, tokens, width = op.shape_of(x)
    heads, size = 2, width // 6
    parts = emit(relax.op.reshape(x, (windows, tokens, 3, heads, size)))
    parts = emit(relax.op.permute_dims(parts, [2, 0, 3, 1, 4]))
    q, k, v = (emit(relax.op.take(parts, const(i, "int64"), axis=0)) for i in range(3))
    q = emit(relax.op.multiply(q, const(scale)))
    k = emit(relax.op.permute_dims(k, [0, 1, 3, 2]))
    flat = windows * heads
    q = emit(relax.op.reshape(q, (flat, tokens, size)))
    k = emit(relax.op.reshape(k, (flat, size, tokens)))
    scores = emit(relax.op.reshape(emit(relax.op.matmul(q, k)), (windows, heads, tokens, tokens)))
    scores = emit(relax.op.add(scores, const(bias)))
    weights = emit(relax.op.nn.softmax(scores, axis=-1))
    if guarded:
        lowest = emit(relax.op.equal(scores, const(-np.inf)))
        some = emit(relax.op.astype(emit(relax.op.logical_not(lowest)), "int8"))
        some = emit(relax.op.max(some, axis=[-1], keepdims=True))
        none = emit(relax.op.logical_not(emit(relax.op.astype(some, "bool"))))
        zeros = emit(relax.op.full_like(weights, const(0.0)))
        weights = emit(relax.op.where(none, zeros, weights))
    weights = emit(relax.op.reshape(weights, (flat, tokens, tokens)))
    mixed = emit(relax.op.matmul(weights, emit(relax.op.reshape(v, (flat, tokens, size)))))
    mixed = emit(relax.op.reshape(mixed, (windows, heads, tokens, size)))
    mixed = emit(relax.op.permute_dims(mixed, [0, 2, 1, 3]))
    return emit(relax.op.reshape(mixed, (windows, tokens, heads * size)))


@pytest.mark.parametrize("guarded", [False, True])
def test_self_attention_is_one_operator(guarded):
    bias = normal(3, 2, 5, 5)
    bias[2] = bias[0]  # which two windows then share

    def before(emit, image):
        return attention_before(emit, image, 0.25, bias, guarded=guarded)

    def after(emit, image):
        kinds, kind = np.unique(bias.reshape(3, -1), axis=0, return_inverse=True)
        attrs = {"tokens": 5, "heads": 2, "size": 16, "offsets": [0, 32, 64], "scale": 0.25}
        biases = const(kinds.reshape(2, 2, 5, 5)), const(kind, "int32")
        x = emit(relax.op.reshape(image, (1, 1, 15, 96)))
        x = emit(op.call("attention", [x, *biases], attrs))
        return emit(relax.op.reshape(x, (3, 5, 32)))

    shape = (3, 5, 96)
    require_equal(canonicalise(module(before, shape)), module(after, shape))


@pytest.mark.parametrize("odd", ["infinite bias", "small heads"])
def test_what_is_no_self_attention_of_whole_vectors_stays(odd):
    bias = normal(3, 2, 5, 5)
    if odd == "infinite bias":
        bias[0, 0, 0, 0] = -np.inf
    shape = (3, 5, 48) if odd == "small heads" else (3, 5, 96)

    def body(emit, image):
        return attention_before(emit, image, 0.25, bias)

    canonical = canonicalise(module(body, shape))
    names = [b.value.op.name for b in graph.bindings(canonical["main"])]
    assert names.count("relax.matmul") == 2


def test_a_channel_shuffle_moves_channels_of_nhwc():
    def before(emit, image):
        x = emit(relax.op.reshape(image, (1, 2, 2, 6, 6)))
        x = emit(relax.op.permute_dims(x, [0, 2, 1, 3, 4]))
        x = emit(relax.op.reshape(x, (1, 4, 6, 6)))
        return emit(relax.op.nn.max_pool2d(x, [2, 2]))

    def after(emit, image):
        x = emit(relax.op.reshape(nhwc(emit, image), (1, 6, 6, 2, 2)))
        x = emit(relax.op.permute_dims(x, [0, 1, 2, 4, 3]))
        x = emit(relax.op.reshape(x, (1, 6, 6, 4)))
        return nchw(emit, emit(relax.op.nn.max_pool2d(x, [2, 2], layout="NHWC")))

    require_equal(canonicalise(module(before)), module(after))


# Annotate.

FIRST, SECOND, THIRD = (normal(4, 4, 1, 1) for _ in range(3))
ZEROS = np.zeros(4)


def chain(emit, image):
    """Three convolutions, the last one with the image as residual."""
    x = nhwc(emit, image)
    y = emit(conv(x, FIRST, ZEROS, clip=RELU))
    y = emit(conv(y, SECOND, ZEROS, name="conv2d_1"))
    return emit(conv(y, THIRD, ZEROS, y, name="conv2d_2"))


def marked_chain(first=(8, 8), middle=(8, 8), last=(8, 8), names=("lv", "lv1", "lv2")):
    """The same with pairs of weight and input bits; None for a float layer."""

    def layer(emit, data, weight, pair, *more, **attrs):
        attrs |= {"weight_bits": pair[0]} if pair else {}
        return emit(conv(data, weight, ZEROS, *more, **attrs))

    def body(emit, image):
        x = nhwc(emit, image)
        if first:
            x = mark(emit, x, names[0], first[1])
        y = layer(emit, x, FIRST, first, clip=RELU)
        if middle:
            y = mark(emit, y, names[1], middle[1])
        y = layer(emit, y, SECOND, middle, name="conv2d_1")
        if last:
            y = mark(emit, y, names[2], last[1])
        return layer(emit, y, THIRD, last, y, name="conv2d_2")

    return module(body)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (QConfig(), marked_chain()),
        (QConfig(weight_bits=2, activation_bits=4), marked_chain((2, 4), (2, 4), (2, 4))),
        (
            QConfig(weight_bits=1, activation_bits=8, first_layer_bits=8, last_layer_bits=6),
            # The residual asks for 8 bits of the last layer's input.
            marked_chain((8, 8), (1, 8), (6, 8)),
        ),
        (
            # Of the layer that it reads too, which alone would ask for 8.
            QConfig(last_layer_bits=8, layer_bits={"conv2d_2": (3, 5), "conv2d_0": (1, 2)}),
            marked_chain((1, 2), (8, 8), (3, 5)),
        ),
    ],
    ids=["w8a8", "w2a4", "ends apart", "bits of layers"],
)
def test_marks_stand_before_layers_and_carry_their_bits(config, expected):
    require_equal(annotate(module(chain), config), expected)


def branches(concatenated: bool):
    """Two layers that read one tensor, and one that reads them both."""

    def body(emit, image):
        x = nhwc(emit, image)
        y = emit(conv(x, FIRST, ZEROS, clip=RELU))
        z = emit(conv(x, SECOND, ZEROS, name="conv2d_1", clip=RELU))
        both = relax.op.concat([y, z], axis=3) if concatenated else relax.op.add(y, z)
        return emit(conv(emit(both), THIRD, ZEROS, name="conv2d_2"))

    return module(body)


def test_readers_of_one_tensor_cannot_have_different_bits_of_it():
    mod = branches(concatenated=False)
    assert input_groups(mod, QConfig()) == [("conv2d_0", "conv2d_1"), ("conv2d_2",)]
    disagreeing = {"conv2d_0": (8, 4), "conv2d_1": (8, 8)}
    with pytest.raises(
        NotQuantizable,
        match="layer_bits: 'conv2d_0' and 'conv2d_1' read one tensor, which cannot have both 4 and",
    ):
        annotate(mod, QConfig(layer_bits=disagreeing))


def marks(mod: tvm.IRModule) -> list[int]:
    bindings = graph.bindings(mod["main"])
    return [
        b.value.attrs["bits"] for b in bindings if op.is_call(b.value, "bitsweep.fake_quantize")
    ]


def test_one_reader_decides_how_many_bits_a_tensor_has():
    config = QConfig(layer_bits={"conv2d_1": (8, 4)})
    assert marks(annotate(branches(concatenated=False), config))[0] == 4


def test_what_is_concatenated_has_the_bits_of_its_reader():
    config = QConfig(layer_bits={"conv2d_2": (8, 3)})
    of_parts = marks(annotate(branches(concatenated=True), config))[1:]
    assert set(of_parts) == {3}


def test_what_is_averaged_has_no_fewer_bits_than_its_average():
    def body(emit, image):
        x = emit(conv(nhwc(emit, image), FIRST, ZEROS, clip=RELU))
        y = emit(conv(x, SECOND, ZEROS, name="conv2d_1", clip=RELU))
        mean = emit(relax.op.nn.avg_pool2d(y, [6, 6], layout="NHWC"))
        return emit(conv(mean, THIRD, ZEROS, name="conv2d_2"))

    config = QConfig(weight_bits=1, activation_bits=1, first_layer_bits=8, last_layer_bits=8)
    assert marks(annotate(module(body), config)) == [8, 1, 8, 8]
    few = QConfig(activation_bits=6, last_layer_bits=2)
    assert marks(annotate(module(body), few)) == [6, 6, 6, 2]


def test_layers_that_are_not_there_have_no_bits():
    with pytest.raises(NotQuantizable, match="layer_bits: no layer is called 'conv2d_7'; near it"):
        annotate(module(chain), QConfig(layer_bits={"conv2d_7": (8, 8)}))


def test_a_skipped_layer_is_float_and_what_it_makes_is_quantized_where_it_is_read():
    config = QConfig(skip_layers=("conv2d_0",))
    require_equal(annotate(module(chain), config), marked_chain(first=None))


def test_a_float_residual_is_not_part_of_an_integer_layer():
    def before(emit, image):
        x = nhwc(emit, image)
        return emit(conv(x, FIRST, ZEROS, x, clip=RELU))

    def after(emit, image):
        x = nhwc(emit, image)
        y = emit(conv(mark(emit, x, "lv"), FIRST, ZEROS, weight_bits=8))
        return emit(relax.op.clip(emit(relax.op.add(y, x)), *RELU))

    require_equal(annotate(module(before), QConfig()), module(after))


def test_a_function_between_layers_has_one_mark_before_it_and_one_after():
    def before(emit, image, marked=False, attrs={}):  # noqa: B006
        def quantized(data, name):
            return mark(emit, data, name) if marked else data

        x = quantized(nhwc(emit, image), "lv")
        y = quantized(emit(conv(x, FIRST, ZEROS, **attrs)), "lv1")
        y = emit(relax.op.multiply(y, emit(relax.op.sigmoid(y))))
        y = quantized(y, "lv3")
        return emit(conv(y, SECOND, ZEROS, name="conv2d_1", **attrs))

    after = module(lambda emit, image: before(emit, image, True, {"weight_bits": 8}))
    require_equal(annotate(module(before), QConfig()), after)


def test_nothing_is_marked_that_no_integer_operator_reads():
    def tail(emit, image, marked=False, attrs={}):  # noqa: B006
        x = nhwc(emit, image)
        x = mark(emit, x, "lv") if marked else x
        y = emit(conv(x, FIRST, ZEROS, **attrs))
        return emit(relax.op.nn.softmax(emit(relax.op.sigmoid(y)), axis=3))

    after = module(lambda emit, image: tail(emit, image, True, {"weight_bits": 8}))
    require_equal(annotate(module(tail), QConfig()), after)


def test_only_a_mark_of_what_moves_data_is_needed():
    def pooled(emit, image, marked=False, attrs={}):  # noqa: B006
        x = nhwc(emit, image)
        x = mark(emit, x, "lv") if marked else x
        y = emit(conv(x, FIRST, ZEROS, **attrs))
        y = mark(emit, y, "lv1") if marked else y
        y = emit(relax.op.nn.max_pool2d(y, [2, 2], layout="NHWC"))
        return emit(conv(y, SECOND, ZEROS, name="conv2d_1", **attrs))

    after = module(lambda emit, image: pooled(emit, image, True, {"weight_bits": 8}))
    require_equal(annotate(module(pooled), QConfig()), after)


# Calibrate and round weights.


def two_layers(emit, image):
    x = mark(emit, nhwc(emit, image), "lv")
    y = mark(emit, emit(conv(x, FIRST, ZEROS, clip=RELU, weight_bits=8)), "lv1", 4)
    return emit(conv(y, SECOND, ZEROS, name="conv2d_1", weight_bits=2))


def ramp(low, high, shape=(1, 4, 6, 6)) -> np.ndarray:
    return np.linspace(low, high, np.prod(shape), dtype=np.float32).reshape(shape)


def seen(*tensors) -> Observer:
    observer = Observer()
    for tensor in tensors:
        observer.update(tensor)
    return observer


def test_calibration_gives_marks_the_ranges_of_their_tensors():
    before = module(two_layers)
    image = ramp(-1, 3)
    hidden = np.maximum(np.einsum("nchw,oc->nohw", image, FIRST[:, :, 0, 0]), 0)
    calibrated = calibrate(before, NEAREST, {"lv": seen(image), "lv1": seen(hidden / 2, hidden)})

    def after(emit, image):
        scale = float(np.float32(4 / 255))
        x = mark(emit, nhwc(emit, image), "lv", scale=scale, zero_point=64)
        scale = found[1]["scale"]
        y = emit(conv(x, FIRST, ZEROS, clip=RELU, weight_bits=8))
        y = mark(emit, y, "lv1", 4, scale=scale, zero_point=0)
        return emit(conv(y, SECOND, ZEROS, name="conv2d_1", weight_bits=2))

    found = marks_of(calibrated)
    assert found[1]["scale"] == pytest.approx(hidden.max() / 15, rel=1e-5)
    require_equal(calibrated, module(after))


def marks_of(mod) -> list[dict]:
    values = [binding.value for binding in graph.bindings(mod["main"])]
    return [op.attributes(v) for v in values if op.is_call(v, "bitsweep.fake_quantize")]


def test_a_mark_whose_tensor_was_not_finite_is_named():
    with pytest.raises(NotQuantizable, match="a value of lv1 that is not finite"):
        calibrate(module(two_layers), NEAREST, {"lv": seen(ramp(-1, 3))})


def test_what_is_concatenated_has_one_scale():
    def joined(emit, image):
        x = mark(emit, nhwc(emit, image), "lv")
        y = mark(emit, emit(conv(x, 10 * FIRST, ZEROS, weight_bits=8)), "lv1")
        z = mark(emit, emit(relax.op.concat([x, y], axis=3)), "lv2")
        return emit(conv(z, normal(4, 8, 1, 1), ZEROS, name="conv2d_1", weight_bits=8))

    before = module(joined)
    statistics = {"lv": seen(ramp(-1, 3)), "lv1": seen(ramp(-20, 9)), "lv2": seen(ramp(-20, 9))}
    calibrated = calibrate(before, NEAREST, statistics)
    scales = {(found["scale"], found["zero_point"]) for found in marks_of(calibrated)}
    assert len(scales) == 1


def test_weights_become_integers_with_scales(target):
    before = module(two_layers)
    evaluator = Evaluator(before, target)
    statistics = {"lv": seen(ramp(-1, 3)), "lv1": seen(ramp(0, 2))}
    calibrated = calibrate(before, NEAREST, statistics)
    config = QConfig(rounding="nearest", bias_correction=False, weight_scale="max")
    rounded = round_weights(calibrated, config, [ramp(-1, 3)], evaluator)
    first, second = marks_of(calibrated)

    def weight(emit, values, limit, integers):
        rows = values.reshape(4, 4)
        scale = (np.abs(rows).max(axis=1) / limit).astype(np.float32)
        integers = integers(rows / scale[:, None]).astype(np.int8).reshape(4, 1, 1, 4)
        zero = relax.const(np.zeros(4, np.int8))
        return emit(relax.op.dequantize(relax.const(integers), const(scale), zero, axis=0))

    def to_odd(x):
        return np.clip(2 * np.floor(x / 2) + 1, -3, 3)

    def with_weight(emit, call, weight):
        arguments = [call.args[0], weight, *call.args[2:]]
        return emit(tvm.ir.Call(call.op, arguments, call.attrs))

    def after(emit, image):
        x = mark(emit, nhwc(emit, image), **first)
        integers = weight(emit, FIRST, 127, np.rint)
        y = with_weight(emit, conv(x, FIRST, ZEROS, clip=RELU, weight_bits=8), integers)
        y = mark(emit, y, **second)
        integers = weight(emit, SECOND, 3, to_odd)
        return with_weight(emit, conv(y, SECOND, ZEROS, name="conv2d_1", weight_bits=2), integers)

    require_equal(rounded, module(after))


def one_bit_between(emit, image):
    x = mark(emit, nhwc(emit, image), "lv")
    y = mark(emit, emit(conv(x, FIRST, np.arange(4), weight_bits=8)), "lv1", 1)
    return emit(conv(y, SECOND, ZEROS, name="conv2d_1", weight_bits=8))


@pytest.mark.parametrize("corrected", [False, True])
def test_one_bit_keeps_the_signs_about_the_middle_of_each_channel(target, corrected):
    before = module(one_bit_between)
    images = [RANDOM.normal(size=(1, 4, 6, 6)).astype(np.float32) for _ in range(20)]
    hidden = np.einsum("nchw,oc->nhwo", np.concatenate(images), FIRST[:, :, 0, 0]) + np.arange(4)
    calibrated = calibrate(before, NEAREST, {"lv": seen(*images), "lv1": seen(hidden)})
    config = QConfig(rounding="nearest", bias_correction=corrected)
    rounded = round_weights(calibrated, config, images, Evaluator(before, target))
    first, found = marks_of(rounded)
    assert first == marks_of(calibrated)[0]
    if not corrected:
        assert found == marks_of(calibrated)[1]
        return
    # Levels at ±0.798 standard deviations (Max 1960), of channels that differ in theirs.
    deviations = hidden.std(axis=(0, 1, 2))
    assert 1.4 * deviations.min() < found["scale"] < 1.8 * deviations.max()
    assert found["zero_point"] == 0
    layer, *_ = (b.value for b in graph.bindings(rounded["main"]) if op.is_quantized_layer(b.value))
    shifted = hidden - np.arange(4) + graph.array(layer.args[2])
    share = (shifted > found["scale"] / 2).mean(axis=(0, 1, 2))
    assert share == pytest.approx([0.5] * 4, abs=0.1)


def test_one_bit_of_what_is_concatenated_keeps_its_scale(target):
    def body(emit, image):
        x = mark(emit, nhwc(emit, image), "lv")
        y = mark(emit, emit(conv(x, FIRST, ZEROS, weight_bits=8)), "lv1", 1)
        z = mark(emit, emit(conv(x, SECOND, ZEROS, name="conv2d_1", weight_bits=8)), "lv2", 1)
        both = mark(emit, emit(relax.op.concat([y, z], axis=3)), "lv3", 1)
        return emit(conv(both, normal(4, 8, 1, 1), ZEROS, name="conv2d_2", weight_bits=8))

    before, image = module(body), ramp(-1, 3)
    statistics = {name: seen(ramp(-2, 3)) for name in ("lv", "lv1", "lv2", "lv3")}
    calibrated = calibrate(before, NEAREST, statistics)
    rounded = round_weights(calibrated, QConfig(), [image], Evaluator(before, target))
    assert marks_of(rounded) == marks_of(calibrated)


# Realise and pack.

INTEGERS = RANDOM.integers(-127, 128, (6, 3, 3, 4)).astype(np.int8)
SCALES = np.array([0.01, 0.02, 0, 0.5, 1e-3, 1], np.float32)  # the third channel is dead
BIAS = np.array([1, -2, 0.25, 0, 3, -1], np.float32)
LAYER = {
    "name": "conv2d_0",
    "kernel_size": [3, 3],
    "channels": 6,
    "strides": [1, 1],
    "padding": [1, 1, 1, 1],
    "dilation": [1, 1],
    "groups": 1,
    "packed": False,
    "weight_bits": 8,
}


def float_layer(emit, data, *residual, clip=op.NO_CLIP):
    zero = relax.const(np.zeros(6, np.int8))
    weight = emit(relax.op.dequantize(relax.const(INTEGERS), const(SCALES), zero, axis=0))
    attrs = LAYER | {"clip_min": clip[0], "clip_max": clip[1]}
    return emit(op.call("conv2d", [data, weight, const(BIAS), *residual], attrs))


def quantize(emit, data, scale, zero_point, highest=255):
    x = emit(
        relax.op.quantize(
            data, const(scale), const(zero_point, "uint8"), axis=-1, out_dtype="uint8"
        )
    )
    if highest < 255:
        x = emit(relax.op.minimum(x, const(highest, "uint8")))
    return x


def integer_operands(scale, zero_point):
    """Weight, scales and bias in integers, of an input of this scale, and the bias's fraction."""
    scales = SCALES.astype(np.float64)
    values = INTEGERS.copy()
    scales[2], values[2] = 0.25 / 2**30 / scale, 0
    sums = values.reshape(6, -1).astype(np.int64).sum(axis=1)
    bias = BIAS / (scale * scales)
    whole = np.rint(bias)
    assert np.any(bias != whole)
    return values, scales, (whole - zero_point * sums).astype(np.int32), bias - whole


def half_and_fraction(multiplier, shift, fraction):
    half = 2 ** (shift.astype(np.int64) - 1) + np.rint(multiplier * fraction).astype(np.int64)
    return relax.const(half, "int64")


def test_a_layer_that_floats_read_gives_its_accumulator():
    def before(emit, image):
        x = mark(emit, image, "lv", scale=0.5, zero_point=10)
        return float_layer(emit, x, clip=(-1.0, 2.0))

    def after(emit, image):
        x = quantize(emit, image, 0.5, 10)
        weight, scales, bias, _ = integer_operands(0.5, 10)
        attrs = LAYER | dict(
            input_bits=8,
            input_zero_point=10,
            residual_zero_point=0,
            output_zero_point=0,
            clip_min=0,
            clip_max=255,
            out_dtype="int32",
        )
        y = emit(op.call("qconv2d", [x, relax.const(weight), relax.const(bias)], attrs))
        zero = relax.const(np.zeros(6, np.int32))
        y = emit(relax.op.dequantize(y, const(0.5 * scales), zero, axis=-1))
        return emit(relax.op.clip(y, -1.0, 2.0))

    shape = (1, 5, 5, 4)
    require_equal(realise(module(before, shape)), module(after, shape))


def test_a_layer_between_marks_is_requantized_with_its_residual_and_limits():
    def before(emit, image):
        image = mark(emit, image, "lv", scale=0.5, zero_point=10)
        x = float_layer(emit, image)
        x = mark(emit, x, "lv1", 4, scale=0.25, zero_point=3)
        parts = emit(relax.op.split(x, [4], axis=3))
        y = emit(relax.TupleGetItem(parts, 0))
        y = float_layer(emit, y, x, clip=(-0.5, 2.0))
        return mark(emit, y, "lv2", scale=0.125, zero_point=7)

    def after(emit, image):
        x = quantize(emit, image, 0.5, 10)
        weight, scales, bias, fraction = integer_operands(0.5, 10)
        (multiplier,), shift = multiplier_and_shift(0.5 * scales / 0.25)
        attrs = LAYER | dict(input_zero_point=10, residual_zero_point=0, output_zero_point=3)
        attrs |= dict(input_bits=8, clip_min=0, clip_max=15, out_dtype="uint8")
        half = half_and_fraction(multiplier, shift, fraction)
        arguments = [x, *map(relax.const, (weight, bias, multiplier, shift)), half]
        x = emit(op.call("qconv2d", arguments, attrs))
        y = emit(relax.TupleGetItem(emit(relax.op.split(x, [4], axis=3)), 0))
        weight, scales, bias, fraction = integer_operands(0.25, 3)
        factors = 0.25 * scales / 0.125, np.full(6, 0.25 / 0.125)
        (multiplier, residual_multiplier), shift = multiplier_and_shift(*factors)
        attrs = LAYER | dict(input_zero_point=3, residual_zero_point=3, output_zero_point=7)
        # From -0.5 to 2 in steps of an eighth.
        attrs |= dict(input_bits=4, clip_min=3, clip_max=23, out_dtype="uint8")
        half = half_and_fraction(multiplier, shift, fraction)
        arguments = [y, *map(relax.const, (weight, bias, multiplier, shift)), half]
        arguments += [x, relax.const(residual_multiplier)]
        y = emit(op.call("qconv2d", arguments, attrs))
        return emit(relax.op.dequantize(y, const(0.125), const(7, "uint8"), axis=-1))

    shape = (1, 5, 5, 4)
    require_equal(realise(module(before, shape)), drop_unread(module(after, shape)))


def drop_unread(mod):
    return relax.transform.CanonicalizeBindings()(relax.transform.DeadCodeElimination()(mod))


def test_sums_products_pools_and_functions_of_integers():
    def before(emit, image):
        x = mark(emit, image, "lv", scale=0.5, zero_point=10)
        mean = emit(relax.op.nn.avg_pool2d(x, [5, 5], [5, 5], layout="NHWC"))
        mean = mark(emit, mean, "lv1", scale=0.25, zero_point=4)
        y = mark(emit, emit(relax.op.multiply(mean, x)), "lv2", scale=2.0, zero_point=1)
        y = mark(emit, emit(relax.op.add(x, y)), "lv3", 4, scale=4.0, zero_point=2)
        y = emit(relax.op.multiply(y, emit(relax.op.clip(y, 0, 6))))
        return mark(emit, y, "lv4", 6, scale=1.5, zero_point=5)

    def scaled(factors, zero_point, highest=255):
        multipliers, shift = multiplier_and_shift(*factors)
        return [int(m) for m in multipliers], dict(
            shift=int(shift), output_zero_point=zero_point, clip_min=0, clip_max=highest
        )

    def after(emit, image):
        x = quantize(emit, image, 0.5, 10)
        (multiplier,), output = scaled([0.5 / 25 / 0.25], 4)
        pool = dict(pool_size=[5, 5], strides=[5, 5], padding=[0] * 4, input_zero_point=10)
        mean = emit(op.call("qavg_pool2d", [x], pool | dict(multiplier=multiplier) | output))
        (multiplier,), output = scaled([0.5 * 0.25 / 2], 1)
        ends = dict(a_zero_point=10, b_zero_point=4)
        # The image is the first factor: the second one is broadcast.
        attrs = ends | dict(multiplier=multiplier) | output
        y = emit(op.call("qmultiply", [x, mean], attrs))
        multipliers, output = scaled([0.5 / 4, 2 / 4], 2, 15)
        attrs = dict(a_zero_point=10, b_zero_point=1)
        attrs |= dict(a_multiplier=multipliers[0], b_multiplier=multipliers[1]) | output
        y = emit(op.call("qadd", [x, y], attrs))
        reals = 4.0 * (np.arange(256) - 2)
        table = np.clip(np.rint(reals * np.clip(reals, 0, 6) / 1.5) + 5, 0, 63)
        y = emit(op.call("qlookup", [y, const(table, "uint8")], {}))
        return emit(relax.op.dequantize(y, const(1.5), const(5, "uint8"), axis=-1))

    shape = (1, 5, 5, 4)
    require_equal(realise(module(before, shape)), module(after, shape))


FUNCTIONS = {
    "relu": (relax.op.nn.relu, torch.relu),
    "leaky relu": (
        lambda x: relax.op.nn.leakyrelu(x, 0.2),
        lambda x: torch.nn.functional.leaky_relu(x, 0.2),
    ),
    "gelu": (relax.op.nn.gelu, torch.nn.functional.gelu),
    "gelu of tanh": (
        relax.op.nn.gelu_tanh,
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    ),
    "silu": (relax.op.nn.silu, torch.nn.functional.silu),
    "sigmoid": (relax.op.sigmoid, torch.sigmoid),
    "tanh": (relax.op.tanh, torch.tanh),
    "exp": (relax.op.exp, torch.exp),
    "erf": (relax.op.erf, torch.erf),
    "abs": (relax.op.abs, torch.abs),
    "negative": (relax.op.negative, torch.neg),
    "square": (relax.op.square, torch.square),
    "clip": (lambda x: relax.op.clip(x, -1.5, 2.5), lambda x: torch.clamp(x, -1.5, 2.5)),
    "from a number": (lambda x: relax.op.subtract(const(1.5), x), lambda x: 1.5 - x),
    "by a number": (lambda x: relax.op.divide(x, const(3.0)), lambda x: x / 3),
    "at least": (lambda x: relax.op.maximum(x, const(0.5)), lambda x: x.clamp(min=0.5)),
    "at most": (lambda x: relax.op.minimum(x, const(0.5)), lambda x: x.clamp(max=0.5)),
    "of two branches": (
        lambda x: relax.op.add(relax.op.tanh(x), relax.op.square(x)),
        lambda x: torch.tanh(x) + torch.square(x),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_becomes_the_table_of_what_pytorch_computes(name):
    function, reference = FUNCTIONS[name]
    scale, zero_point = 0.0313, 120  # no two in a ratio that leaves values halfway

    def before(emit, image):
        x = mark(emit, image, "lv", scale=scale, zero_point=zero_point)
        return mark(emit, emit(function(x)), "lv1", scale=0.0207, zero_point=100)

    (call,) = [
        binding.value
        for binding in graph.bindings(realise(module(before))["main"])
        if op.is_call(binding.value, "bitsweep.qlookup")
    ]
    reals = torch.from_numpy(scale * (np.arange(256) - zero_point))
    expected = np.clip(np.rint(reference(reals).numpy() / 0.0207) + 100, 0, 255)
    difference = np.abs(graph.array(call.args[1]) - expected)
    assert difference.max() <= 1
    assert np.mean(difference) <= 0.02


def test_few_bits_of_an_input_are_cut_off_above():
    def before(emit, image):
        return float_layer(emit, mark(emit, image, "lv", 3, scale=0.5, zero_point=2))

    realised = realise(module(before, (1, 5, 5, 4)))
    image = np.array([-9, 0, 1, 2.5, 3, 90] * 50, np.float32)[:100].reshape(1, 5, 5, 4)
    values = list(interpreter.interpret(realised, image).values())
    np.testing.assert_array_equal(values[1].reshape(-1)[:6], [0, 2, 4, 7, 7, 7])


@pytest.mark.parametrize(
    ("bits", "per_byte"), [(1, 8), (2, 4), (3, 2), (4, 2), (5, 1), (6, 1), (7, 1), (8, 1)]
)
def test_packed_weights_have_the_shape_and_values_of_the_layout(bits, per_byte):
    levels = (
        np.arange(-(2**bits) + 1, 2**bits, 2)
        if bits <= 4
        else np.arange(1 - 2 ** (bits - 1), 2 ** (bits - 1))
    )
    attrs = dict(weight_bits=bits, input_zero_point=0, residual_zero_point=0)
    attrs |= dict(output_zero_point=0, clip_min=0, clip_max=255, out_dtype="int32")
    cases = {
        "full": (20, 8, 1, (1, 2, -(-3 * 2 * 2 // per_byte), 16, 4)),
        "a row of taps as one": (20, 6, 1, (1, 2, -(-3 * 3 // per_byte), 16, 4)),
        "grouped": (20, 6, 2, (2, 1, -(-3 * 2 * 1 // per_byte), 16, 4)),
        "depthwise": (20, 20, 20, (2, -(-3 * 2 // per_byte), 16)),
    }
    for outputs, inputs, groups, shape in cases.values():
        weight = RANDOM.choice(levels, (outputs, 3, 2, inputs // groups)).astype(np.int8)
        layer = LAYER | dict(kernel_size=[3, 2], channels=outputs, groups=groups) | attrs

        def body(emit, image, weight=weight, layer=layer):
            x = quantize(emit, image, 0.5, 0)
            bias = relax.const(np.zeros(layer["channels"], np.int32))
            return emit(op.call("qconv2d", [x, relax.const(weight), bias], layer))

        packed = pack(module(body, (1, 5, 5, inputs)))
        (call,) = [
            binding.value
            for binding in graph.bindings(packed["main"])
            if op.is_call(binding.value, "bitsweep.qconv2d")
        ]
        stored = graph.array(call.args[1])
        assert (stored.shape, stored.dtype) == (shape, np.uint8)
        assert call.attrs["packed"]
        np.testing.assert_array_equal(interpreter.weight_of(call, stored), weight)
        require_equal(pack(packed), packed)


def test_a_float_layer_is_packed_with_the_values_of_its_integers():
    packed = pack(module(lambda emit, image: float_layer(emit, image), (1, 5, 5, 4)))
    (binding,) = graph.bindings(packed["main"])
    stored = graph.array(binding.value.args[1])
    assert (stored.shape, stored.dtype) == ((1, 1, 36, 16), np.float32)
    np.testing.assert_array_equal(
        interpreter.weight_of(binding.value, stored), INTEGERS * SCALES.reshape(-1, 1, 1, 1)
    )
