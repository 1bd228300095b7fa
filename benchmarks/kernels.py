"""How fast the kernels of `bitsweep.relax` run the layers of networks on this machine's CPU.

    TVM_NUM_THREADS=2 python benchmarks/kernels.py [--network NETWORK ...] [--shapes SHAPES]
        [PRECISION ...]

Measures what the CPU can do at most of each arithmetic, with as many threads. Then prints, for each
network (ResNet-50, MobileNetV2 and ViT-B/16 unless told), each precision (float32, bfloat16, or
bits of weights and activations like w4a8 and w1a1) and each shape of its layers (or the first
SHAPES), how many there are, the seconds that the kernel took to build, the median milliseconds of a
run on random values, the 10^9 multiply-accumulates per second, and their share of the most that the
layer's instruction does; then the sums over the layers. Where planes pay for a layer of few bits,
it reads and writes planes; the first and the last layer have 8 bits then. A depthwise layer's name
has no arrow.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from pathlib import Path

import ml_dtypes
import numpy as np
import tvm
from tvm.target.codegen import llvm_get_system_cpu, llvm_get_system_triple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep.engines.relax import peaks
from bitsweep.relax.kernels import (
    attention_float,
    attention_integer,
    conv2d_bfloat16,
    conv2d_float,
    conv2d_integer,
    conv2d_planes,
)
from bitsweep.relax.kernels.geometry import Attention, Conv2D
from bitsweep.relax.kernels.packing import (
    packed_bfloat16_shape,
    packed_float_shape,
    packed_integer_shape,
)
from bitsweep.relax.kernels.planes import packed_planes_shape, planes_shape
from bitsweep.relax.kernels.requantization import Requantization, in_words
from bitsweep.relax.kernels.thresholds import Thresholds

FLOATS = ("float32", "bfloat16")
PRECISIONS = (*FLOATS, "w8a8", "w4a8", "w2a8", "w1a8", "w2a2", "w1a4", "w1a2", "w1a1")
REPEATS = 15


def main(precisions: Sequence[str], shapes: int | None, networks: Sequence[str]) -> None:
    target = host()
    print(target)
    most = most_products()
    print("10^9 products a second:", ", ".join(f"{rate:.0f} {name}" for name, rate in most.items()))
    for network, precision in product(networks, precisions):
        total_ms, total_least, build_s, total = 0.0, 0.0, 0.0, 0
        print(f"\n{network + ' ' + precision:<36} {'layers':>6} {'build s':>8} {'ms':>8}", end="")
        print(f" {'GMAC/s':>8} {'of peak':>8}")
        for layer, residual, count in islice(NETWORKS[network](), shapes):
            started = time.perf_counter()
            run = bind(layer, precision, residual, target)
            build_s += (spent := time.perf_counter() - started)
            ms = 1e3 * median(run)
            least = least_ms(layer, precision, target, most)
            total_ms += count * ms
            total_least += count * least
            total += count
            print(
                f"{named(layer) + ', residual' * residual:<36} {count:6} {spent:8.2f} {ms:8.3f}",
                end="",
            )
            print(f" {layer.macs / ms / 1e6:8.1f} {least / ms:8.2f}")
        print(
            f"{'all':<36} {total:6} {build_s:8.2f} {total_ms:8.3f} {total_least / total_ms:17.2f}"
        )
        sys.stdout.flush()


def most_products() -> dict[str, float]:
    """The 10^9 products a second of each arithmetic, as the stage `peaks` measures them."""
    threads = tvm.runtime.num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "peaks.json")
        peaks.run({}, {"peaks": str(path)}, {"threads": threads})
        rates = json.loads(path.read_text(encoding="utf-8"))["gigaproducts"]
    return {name: rate[str(threads)] for name, rate in rates.items()}


def least_ms(
    layer: Conv2D | Attention, precision: str, target: tvm.target.Target, most: dict[str, float]
) -> float:
    """The milliseconds of a layer at the most of its arithmetic; not a number without that."""
    name, pairs = "float", 1
    if precision in FLOATS:
        name = "bfloat16" if _in_bfloat16(layer, precision) else "float"
    else:
        name = "integer"
        bits = bits_of(layer, precision)
        if isinstance(layer, Conv2D) and conv2d_planes.pays(layer, *bits, target):
            name, pairs = "bits", bits[0] * bits[1]
    return layer.macs * pairs / most.get(name, float("nan")) / 1e6


def _in_bfloat16(layer: Conv2D | Attention, precision: str) -> bool:
    return precision == "bfloat16" and isinstance(layer, Conv2D) and not layer.depthwise


def host() -> tvm.target.Target:
    """This machine's CPU, for as many cores as TVM has threads."""
    return tvm.target.Target(
        {
            "kind": "llvm",
            "mtriple": llvm_get_system_triple(),
            "mcpu": llvm_get_system_cpu(),
            "num-cores": tvm.runtime.num_threads(),
        }
    )


def named(conv: Conv2D | Attention) -> str:
    """A layer in a few characters."""
    if isinstance(conv, Attention):
        return f"attention, {conv.heads} × {conv.tokens} × {conv.size}"
    if conv.height == 1:
        return f"{conv.width} × {conv.in_channels} → {conv.out_channels}"
    size, name = conv.kernel[0], f"{conv.height}² × {conv.in_channels}"
    if not conv.depthwise:
        name = f"{name} → {conv.out_channels}"
    return f"{name}, {size}×{size}/{conv.strides[0]}"


def layers() -> Iterator[tuple[Conv2D, bool, int]]:
    """ResNet-50's convolutions and its dense layer: (shape, with a residual or not, how many)."""

    yield _square(224, 3, 64, 7, 2), False, 1
    size, inputs = 56, 64
    for middle, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        stride, outputs = 1 if middle == 64 else 2, 4 * middle
        yield _square(size, inputs, middle, 1, 1), False, 1
        yield _square(size, middle, middle, 3, stride), False, 1
        yield _square(size, inputs, outputs, 1, stride), False, 1
        size, inputs = size // stride, outputs
        yield _square(size, middle, outputs, 1, 1), True, blocks
        yield _square(size, outputs, middle, 1, 1), False, blocks - 1
        yield _square(size, middle, middle, 3, 1), False, blocks - 1
    yield _square(1, 2048, 1000, 1, 1), False, 1


def mobilenet_layers() -> Iterator[tuple[Conv2D, bool, int]]:
    """The same of mobilenet_v2, of which a third is depthwise: rows without an arrow."""
    seen: dict[tuple[Conv2D, bool], int] = {}

    def add(conv: Conv2D, residual: bool = False) -> None:
        seen[conv, residual] = seen.get((conv, residual), 0) + 1

    add(_square(224, 3, 32, 3, 2))
    size, inputs = 112, 32
    settings = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    for factor, outputs, blocks, first in [
        *settings,
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for block in range(blocks):
            middle, stride = factor * inputs, 1 if block else first
            if factor > 1:
                add(_square(size, inputs, middle, 1, 1))
            add(_square(size, middle, middle, 3, stride, groups=middle))
            size //= stride
            add(_square(size, middle, outputs, 1, 1), block > 0)
            inputs = outputs
    add(_square(size, inputs, 1280, 1, 1))
    add(_square(1, 1280, 1000, 1, 1))
    yield from ((conv, residual, count) for (conv, residual), count in seen.items())


def vit_layers() -> Iterator[tuple[Conv2D | Attention, bool, int]]:
    """The same of vit_b_16, its attention among them."""
    tokens, width, blocks = 197, 768, 12

    def dense(inputs: int, outputs: int, rows: int = tokens) -> Conv2D:
        return Conv2D(1, 1, rows, inputs, outputs, kernel=(1, 1))

    yield Conv2D(1, 224, 224, 3, width, kernel=(16, 16), strides=(16, 16)), False, 1
    yield dense(width, 3 * width), False, blocks
    yield Attention(1, tokens, 12, 64, 3 * width, (0, width, 2 * width)), False, blocks
    yield dense(width, width), True, blocks
    yield dense(width, 4 * width), False, blocks
    yield dense(4 * width, width), True, blocks
    yield dense(width, 1000, 1), False, 1


NETWORKS = {"resnet50": layers, "mobilenet_v2": mobilenet_layers, "vit_b_16": vit_layers}


def _square(
    size: int, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1
) -> Conv2D:
    return Conv2D(
        *(1, size, size, inputs, outputs),
        kernel=(kernel, kernel),
        strides=(stride, stride),
        padding=(kernel // 2,) * 4,
        groups=groups,
    )


def bits_of(layer: Conv2D | Attention, precision: str) -> tuple[int, int]:
    """The bits of weights and activations: 8 at both ends, where activations have fewer."""
    weight_bits, input_bits = map(int, precision.removeprefix("w").split("a"))
    at_an_end = isinstance(layer, Conv2D) and (layer.in_channels == 3 or layer.width == 1)
    return (8, 8) if at_an_end and input_bits < 8 else (weight_bits, input_bits)


def bind(
    layer: Conv2D | Attention, precision: str, residual: bool, target: tvm.target.Target
) -> Callable[[], None]:
    """The kernel, built and applied to random values."""
    random = np.random.default_rng(0)
    if isinstance(layer, Attention):
        function, arrays = _attention(layer, precision, target, random)
    elif precision in FLOATS:
        function, arrays = _floats(layer, precision, residual, target, random)
    else:
        function, arrays = _integer(layer, *bits_of(layer, precision), residual, target, random)
    module = tvm.tirx.build(function.with_attr("global_symbol", "main"), target)
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    kernel = module["main"]
    return lambda: kernel(*tensors)


def _floats(
    conv: Conv2D,
    precision: str,
    residual: bool,
    target: tvm.target.Target,
    random: np.random.Generator,
) -> tuple[tvm.tirx.PrimFunc, list[np.ndarray]]:
    """A kernel of floats and what it is called with: in bfloat16 the weights."""
    common = {"residual": residual, "clip": (0.0, float("inf")), "target": target}
    if _in_bfloat16(conv, precision):
        dtypes = {"input_dtype": "float32", "output_dtype": "float32"}
        function = conv2d_bfloat16.kernel(conv, **dtypes, **common)
        shape = packed_bfloat16_shape(conv2d_bfloat16.joined(conv).weight_shape, conv.groups)
        weight = random.standard_normal(shape, np.float32).astype(ml_dtypes.bfloat16)
    else:
        function = conv2d_float.kernel(conv, **common)
        shape = packed_float_shape(conv.weight_shape, conv.groups)
        weight = random.standard_normal(shape, np.float32)
    shapes = [conv.input_shape, (conv.out_channels,), *[conv.output_shape] * (residual + 1)]
    x, *others = (random.standard_normal(shape, np.float32) for shape in shapes)
    return function, [x, weight, *others]


def _attention(
    shape: Attention, precision: str, target: tvm.target.Target, random: np.random.Generator
) -> tuple[tvm.tirx.PrimFunc, list[np.ndarray]]:
    """A kernel of self-attention and what it is called with."""
    if precision in FLOATS:
        data = random.standard_normal(shape.input_shape, np.float32)
        constants = [np.array([0.125], np.float32)]
        function = attention_float.kernel(shape, target)
    else:
        data = random.integers(0, 2 ** bits_of(shape, precision)[1], shape.input_shape, np.uint8)
        constants = [np.array([10, 0.01], np.float32), np.array([128, 128, 0, 255], np.int32)]
        function = attention_integer.kernel(shape, target)
    return function, [data, *constants, np.zeros(shape.output_shape, data.dtype)]


def _integer(
    conv: Conv2D,
    weight_bits: int,
    input_bits: int,
    residual: bool,
    target: tvm.target.Target,
    random: np.random.Generator,
) -> tuple[tvm.tirx.PrimFunc, list[np.ndarray]]:
    """A kernel of integers and what it is called with."""
    outputs = conv.out_channels
    clip = (0, 2**input_bits - 1)
    on_planes = conv2d_planes.pays(conv, weight_bits, input_bits, target)
    planes = input_bits if on_planes else 0

    def integers(shape: tuple[int, ...], dtype: str, low: int, high: int) -> np.ndarray:
        return random.integers(low, high, shape).astype(dtype)

    def activations(shape: tuple[int, int, int, int]) -> np.ndarray:
        if planes:
            return integers(planes_shape(shape, planes), "uint16", 0, 2**16)
        return integers(shape, "uint8", 0, 2**input_bits)

    if planes:
        shape = packed_planes_shape(conv.weight_shape, weight_bits, conv.groups)
        weight = integers(shape, "uint32", 0, 2**32)
    else:
        shape = packed_integer_shape(
            conv.joined(weight_bits).weight_shape, weight_bits, conv.groups
        )
        weight = integers(shape, "uint8", 0, 256)
    arrays = [activations(conv.input_shape), weight, integers((outputs,), "int32", -1000, 1000)]
    own = {"residual_planes": planes if residual else 0, "output_planes": planes}
    if planes and input_bits <= 2:
        output = Thresholds(clip, **own)
        levels = (2 ** own["residual_planes"], clip[1], outputs)
        arrays.append(np.sort(integers(levels, "int32", -1000, 1000), axis=1))
    else:
        # beside a residual, whose factor is about 1, those of sums are small
        least, shifts = (2**22, (31, 32)) if residual else (2**30, (36, 42))
        multiplier = integers((outputs,), "int32", least, 2 * least)
        shift = integers((outputs,), "int32", *shifts)
        factors = [multiplier, shift, np.int64(1) << (shift.astype(np.int64) - 1)]
        if residual:
            factors.append(np.full(outputs, 7 * 2**28, np.int32))
        factors, words = in_words(*factors, residual_zero_point=3)
        output = Requantization("uint8", 3 if residual else None, 0, clip, **own, words=words)
        arrays += factors[:3]
    if residual:
        arrays.append(activations(conv.output_shape))
        if isinstance(output, Requantization):
            arrays += factors[3:]
    common = {"weight_bits": weight_bits, "input_zero_point": 0, "output": output, "target": target}
    if planes:
        function = conv2d_planes.kernel(conv, input_bits=input_bits, **common)
    else:
        function = conv2d_integer.kernel(conv, **common)
    return function, [*arrays, np.zeros_like(activations(conv.output_shape))]


def precision_of(text: str) -> str:
    if text not in FLOATS and not re.fullmatch("w[1-8]a[1-8]", text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: allowed are float32, bfloat16 and w1a1 to w8a8"
        )
    return text


def median(run, repeats: int = REPEATS) -> float:
    """Seconds of a run."""
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("precisions", nargs="*", default=PRECISIONS, type=precision_of)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--shapes", type=int)
    arguments = parser.parse_args()
    main(arguments.precisions, arguments.shapes, arguments.network or list(NETWORKS))
