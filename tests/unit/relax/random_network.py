"""Random small networks as a frontend would give them: what a quantizer may meet."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tvm
from hypothesis import strategies as st
from tvm import relax

from bitsweep.relax import QConfig, op
from bitsweep.relax.transform.annotate import input_groups
from bitsweep.relax.transform.canonicalise import canonicalise

ACTIVATIONS = ["none", "relu", "relu6", "sigmoid", "silu", "hardswish", "leaky"]
STEPS = ["conv", "residual", "sum", "max pool", "average pool", "concat", "split", "gate"]
STEPS += ["conv", "conv", "batch norm", "product"]
SPECIAL = ["dead", "huge bias", "equal", "no bias"]


@dataclass
class Network:
    """A network under construction, NCHW; `last` is the tensor that the next operator reads."""

    random: np.random.Generator
    builder: relax.BlockBuilder
    last: relax.Expr
    module: tvm.IRModule | None = None
    record: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return " → ".join(self.record)

    @property
    def shape(self) -> tuple[int, ...]:
        return op.shape_of(self.last)

    @property
    def channels(self) -> int:
        return self.shape[1]

    def emit(self, expr: relax.Expr) -> relax.Expr:
        self.last = self.builder.emit(expr)
        return self.last

    def conv(self, outputs, kernel=(1, 1), *, groups=1, magnitude=1.0, special=(), **attrs):
        """A convolution with weights of about `magnitude`, and a bias."""
        shape = (outputs, self.channels // groups, *kernel)
        weight = self.random.standard_normal(shape) * magnitude
        bias = self.random.standard_normal((1, outputs, 1, 1)) * magnitude
        if "equal" in special:  # halfway between levels, some of them
            weight = np.full_like(weight, magnitude)
        if "dead" in special:
            weight[self.random.random(outputs) < 0.4] = 0
        if "huge bias" in special:
            bias *= 1e3
        constant = relax.const(weight.astype(np.float32))
        self.emit(relax.op.nn.conv2d(self.last, constant, groups=groups, **attrs))
        if "no bias" not in special:
            self.emit(relax.op.add(self.last, relax.const(bias.astype(np.float32))))

    def dense(self, outputs: int):
        weight = self.random.standard_normal((self.channels, outputs)).astype(np.float32)
        bias = self.random.standard_normal(outputs).astype(np.float32)
        self.emit(relax.op.matmul(self.last, relax.const(weight)))
        self.emit(relax.op.add(self.last, relax.const(bias)))

    def batch_norm(self):
        statistics = [self.random.standard_normal(self.channels) for _ in range(3)]
        statistics.append(self.random.random(self.channels) + 0.1)
        constants = [relax.const(array.astype(np.float32)) for array in statistics]
        norm = relax.op.nn.batch_norm(self.last, *constants, axis=1, training=False)
        self.emit(relax.TupleGetItem(self.builder.emit(norm), 0))

    def activate(self, kind: str):
        """A function of every element, in the operators that the frontend makes of it."""
        x, ops = self.last, relax.op
        match kind:
            case "relu":
                self.emit(ops.nn.relu(x))
            case "relu6":
                self.emit(ops.clip(x, 0, 6))
            case "sigmoid":
                self.emit(ops.sigmoid(x))
            case "silu":
                self.emit(ops.multiply(x, self.emit(ops.sigmoid(x))))
            case "hardsigmoid" | "hardswish":
                steps = self.emit(ops.add(x, relax.const(np.float32(3))))
                steps = self.emit(ops.clip(steps, 0, float("inf")))
                steps = self.emit(ops.clip(steps, float("-inf"), 6))
                if kind == "hardswish":
                    steps = self.emit(ops.multiply(x, steps))
                self.emit(ops.divide(steps, relax.const(np.float32(6))))
            case "leaky":
                self.emit(ops.nn.leakyrelu(x, 0.1))

    def gate(self, kind: str):
        """Squeeze and excitation (Hu et al. 2018, figure 3)."""
        image = self.last
        self.emit(relax.op.mean(image, [2, 3], keepdims=True))
        self.conv(2)
        self.activate("relu")
        self.conv(op.shape_of(image)[1])
        self.activate(kind)
        self.emit(relax.op.multiply(image, self.last))

    def shuffle(self):
        """Channels of two groups interleaved (Zhang et al. 2018, figure 1)."""
        batch, channels, height, width = self.shape
        self.emit(relax.op.reshape(self.last, (batch, 2, channels // 2, height, width)))
        self.emit(relax.op.permute_dims(self.last, [0, 2, 1, 3, 4]))
        self.emit(relax.op.reshape(self.last, (batch, channels, height, width)))


def _convolution(draw, network: Network, *, same: bool = False) -> None:
    """Any convolution; of the shape of its input if `same`."""
    channels, size = network.channels, network.shape[2:]
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    kernel = tuple(map(min, kernel, size))
    kind = draw(st.sampled_from(["full", "full", "grouped", "depthwise"]))
    groups = {"full": 1, "grouped": 2 if channels % 2 == 0 else 1, "depthwise": channels}[kind]
    if same:
        kernel, groups = (3, 3), groups if draw(st.booleans()) else 1
        outputs, padding, strides, dilation = channels, (1, 1, 1, 1), (1, 1), (1, 1)
    else:
        outputs = groups * draw(st.sampled_from([1, 2, 3, 9] if groups < 3 else [1, 1, 2]))
        padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
        strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        fits = all(
            d * (k - 1) < extent for d, k, extent in zip(dilation, kernel, size, strict=True)
        )
        dilation = dilation if fits else (1, 1)
    magnitude = draw(st.sampled_from([0.3, 0.3, 0.3, 1e-4, 1e4]))
    special = draw(st.sets(st.sampled_from(SPECIAL), max_size=2))
    network.conv(
        outputs,
        kernel,
        groups=groups,
        magnitude=magnitude,
        special=special,
        padding=padding,
        strides=strides,
        dilation=dilation,
    )
    network.record.append(
        f"conv{kernel} to {outputs} groups {groups} padding {padding} strides {strides} "
        f"dilation {dilation} magnitude {magnitude} {' '.join(sorted(special))}"
    )


def _step(draw, network: Network) -> None:
    name = draw(st.sampled_from(STEPS))
    x, (_, channels, height, width) = network.last, network.shape
    record = network.record.append
    if name == "conv":
        _convolution(draw, network)
        if draw(st.booleans()):
            network.batch_norm()
            record("batch norm")
    elif name == "residual":
        _convolution(draw, network, same=True)
        pair = (network.last, x) if draw(st.booleans()) else (x, network.last)
        network.emit(relax.op.add(*pair))
        record("+ input")
    elif name == "sum":
        _convolution(draw, network, same=True)
        network.activate("hardswish")
        network.emit(relax.op.add(network.last, x))
        record("hardswish + input")
    elif name == "product":
        _convolution(draw, network, same=True)
        network.emit(relax.op.multiply(network.last, x))
        record("times input")
    elif name in ("max pool", "average pool"):
        size = tuple(min(draw(st.integers(1, 3)), extent) for extent in (height, width))
        strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        padding = tuple(draw(st.integers(0, extent - 1)) for extent in (*size, *size))
        if name == "max pool":
            network.emit(relax.op.nn.max_pool2d(x, size, strides, padding))
        else:
            inside = draw(st.booleans())
            network.emit(
                relax.op.nn.avg_pool2d(x, size, strides, padding, count_include_pad=inside)
            )
            name += " and its padding" if inside else ""
        record(f"{name} {size} strides {strides} padding {padding}")
    elif name == "concat":
        _convolution(draw, network, same=True)
        network.emit(relax.op.concat([network.last, x], axis=1))
        record("beside input")
        if draw(st.booleans()):
            network.shuffle()
            record("shuffle")
    elif name == "split" and channels > 1:
        at = draw(st.integers(1, channels - 1))
        parts = network.builder.emit(relax.op.split(x, [at], axis=1))
        first = network.builder.emit(relax.TupleGetItem(parts, 0))
        network.emit(relax.TupleGetItem(parts, 1))
        record(f"split at {at}")
        _convolution(draw, network, same=True)
        network.emit(relax.op.concat([first, network.last], axis=1))
        record("concat")
    elif name == "gate":
        kind = draw(st.sampled_from(["sigmoid", "hardsigmoid", "none"]))
        network.gate(kind)
        record(f"gate {kind}")
    elif name == "batch norm":
        network.batch_norm()
        record(name)
    activation = draw(st.sampled_from(ACTIVATIONS))
    network.activate(activation)
    record(activation)


def built(steps: Callable[[Network], None], channels: int, size, seed: int = 0) -> Network:
    """The network of these steps, on an image of (1, channels, *size)."""
    image = relax.Var("image", relax.TensorType((1, channels, *size), "float32"))
    random = np.random.default_rng(seed)
    network = Network(random, relax.BlockBuilder(), image, record=[f"{image.ty.shape}"])
    with network.builder.function("main", [image]):
        with network.builder.dataflow():
            steps(network)
            result = network.builder.emit_output(network.last)
        network.builder.emit_func_output(result)
    network.module = network.builder.finalize()
    return network


@st.composite
def networks(draw) -> Network:
    """Up to four steps, and an end: an image, features, or classes; at least one has weights."""

    def steps(network: Network) -> None:
        end = draw(st.sampled_from(["classes", "image", "flat classes", "conv"]))
        if end == "image" or draw(st.booleans()):
            _convolution(draw, network)
        for _ in range(draw(st.integers(1, 3))):
            _step(draw, network)
        if end == "conv":
            _convolution(draw, network)
        elif end == "classes":
            network.emit(relax.op.mean(network.last, [2, 3]))
            network.dense(5)
        elif end == "flat classes":
            network.emit(relax.op.reshape(network.last, (1, int(np.prod(network.shape)))))
            network.dense(3)
        network.record.append(end)

    seed = draw(st.integers(0, 2**16))
    channels = draw(st.sampled_from([1, 2, 3, 4, 6, 18]))
    size = draw(st.tuples(st.integers(2, 7), st.integers(2, 9)))
    return built(steps, channels, size, seed)


def _groups(network: Network) -> None:
    """Groups of fewer channels than are packed together, in and out, padded unevenly."""
    network.conv(9, (3, 3), groups=3, padding=(0, 1, 2, 1), strides=(2, 1))
    network.activate("relu")
    network.conv(6, (1, 1), groups=3)


def _dilated(network: Network) -> None:
    """Dilation and strides together, of an uneven kernel, and dead channels."""
    network.conv(
        17, (3, 2), special={"dead"}, padding=(2, 0, 1, 2), strides=(2, 2), dilation=(2, 2)
    )
    network.activate("hardswish")
    network.conv(5, (2, 3), padding=(1, 2, 1, 2), dilation=(1, 2))


def _depthwise(network: Network) -> None:
    """Two outputs a channel, then one, of no multiple of a vector's lanes."""
    network.conv(36, (3, 3), groups=18, padding=(1, 1, 1, 1))
    network.activate("relu6")
    network.conv(36, (2, 2), groups=36, strides=(1, 2), special={"huge bias"})


def _pointwise(network: Network) -> None:
    """From a single channel, strided, to classes."""
    network.conv(33, (1, 1), strides=(2, 2))
    network.activate("silu")
    network.emit(relax.op.mean(network.last, [2, 3]))
    network.dense(5)


def _residual(network: Network) -> None:
    """Two blocks, the second on what a batch norm scales and an activation clips."""
    for activation in ("relu", "leaky"):
        before = network.last
        network.conv(network.channels, (3, 3), padding=(1, 1, 1, 1), magnitude=0.3)
        network.batch_norm()
        network.activate("relu6")
        network.conv(network.channels, (3, 3), padding=(1, 1, 1, 1), magnitude=0.3)
        network.emit(relax.op.add(before, network.last))
        network.activate(activation)


def _beside(network: Network) -> None:
    """Concatenated with its input, shuffled, gated, pooled."""
    before = network.last
    network.conv(network.channels, (3, 3), padding=(1, 1, 1, 1))
    network.emit(relax.op.concat([network.last, before], axis=1))
    network.shuffle()
    network.gate("hardsigmoid")
    network.emit(relax.op.nn.avg_pool2d(network.last, (3, 2), (2, 2), (1, 0, 1, 1)))
    network.conv(4, (1, 1), special={"equal", "no bias"})


HARD = {
    "groups": lambda: built(_groups, 6, (5, 8)),
    "dilated": lambda: built(_dilated, 3, (7, 9)),
    "depthwise": lambda: built(_depthwise, 18, (5, 6)),
    "pointwise": lambda: built(_pointwise, 1, (5, 5)),
    "residual": lambda: built(_residual, 6, (4, 5)),
    "beside": lambda: built(_beside, 3, (6, 7)),
}
"""Networks of what is hard in a kernel, which chance may not draw."""


@st.composite
def configs(draw) -> QConfig:
    """Settings of every kind."""
    bits = st.integers(1, 8)
    weight_bits = draw(bits)
    roundings = ["nearest", "gptq"] + ["binary"] * (weight_bits == 1)
    return QConfig(
        weight_bits=weight_bits,
        activation_bits=draw(st.one_of(st.just(8), st.integers(2, 8))),
        first_layer_bits=draw(st.one_of(st.none(), bits)),
        last_layer_bits=draw(st.one_of(st.none(), bits)),
        weight_granularity=draw(st.sampled_from(["per_channel", "per_tensor"])),
        weight_scale=draw(st.sampled_from(["max", "mse"])),
        rounding=draw(st.sampled_from(roundings)),
        bias_correction=draw(st.booleans()),
        activation_scheme=draw(st.sampled_from(["affine", "symmetric"])),
        calibrate_mode=draw(
            st.sampled_from(["min_max", "moving_average", "percentile", "mse", "kl_divergence"])
        ),
    )


@st.composite
def layer_bits(draw, network: Network, config: QConfig) -> dict[str, tuple[int, int]]:
    """Bits of some of a network's layers, the same of the input where one tensor is read."""
    drawn = {}
    for group in input_groups(canonicalise(network.module), config):
        input_bits = draw(st.integers(2, 8))
        for name in group:
            if draw(st.booleans()):
                drawn[name] = (draw(st.integers(1, 8)), input_bits)
    return drawn
