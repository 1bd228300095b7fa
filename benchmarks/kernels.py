"""How fast the kernels of `bitsweep.relax` run the layers of a network on this machine's CPU.

    TVM_NUM_THREADS=2 python benchmarks/kernels.py [--network NETWORK] [--shapes SHAPES]
        [PRECISION ...]

Prints, for each precision (float32, or bits of weights and activations like w4a8 and w1a1) and each
shape of the layers (or the first SHAPES), the seconds that the kernel took to build, the median
milliseconds of a run on random values and the multiply-accumulates per second; then the sum over
the layers: ResNet-50's 54, or the 53 of mobilenet_v2, of which 17 are depthwise. Where planes pay
for a layer of few bits, it reads and writes planes; the first and the last layer have 8 bits then.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import tvm
from tvm.target.codegen import llvm_get_system_cpu, llvm_get_system_triple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep.relax.kernels import conv2d_float, conv2d_integer, conv2d_planes
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.kernels.packing import packed_float_shape, packed_integer_shape
from bitsweep.relax.kernels.planes import packed_planes_shape, planes_shape
from bitsweep.relax.kernels.requantization import Requantization, in_words
from bitsweep.relax.kernels.thresholds import Thresholds

PRECISIONS = ("float32", "w8a8", "w4a8", "w2a8", "w1a8", "w2a2", "w1a4", "w1a2", "w1a1")
REPEATS = 15


def main(precisions: Sequence[str], shapes: int | None, network: str) -> None:
    target = host()
    print(target)
    for precision in precisions:
        total_ms, build_s, total = 0.0, 0.0, 0
        print(f"\n{precision:<30} {'layers':>6} {'build s':>8} {'ms':>8} {'GMAC/s':>8}")
        for conv, residual, count in islice(NETWORKS[network](), shapes):
            started = time.perf_counter()
            run = bind(conv, precision, residual, target)
            build_s += (spent := time.perf_counter() - started)
            ms = 1e3 * median(run)
            total_ms += count * ms
            total += count
            print(f"{named(conv):<30} {count:6} {spent:8.2f} {ms:8.3f} {conv.macs / ms / 1e6:8.1f}")
        print(f"{'all':<30} {total:6} {build_s:8.2f} {total_ms:8.3f}", flush=True)


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


def named(conv: Conv2D) -> str:
    """A layer in a few characters."""
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


NETWORKS = {"resnet50": layers, "mobilenet_v2": mobilenet_layers}


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


def bind(conv: Conv2D, precision: str, residual: bool, target: tvm.target.Target):
    """The kernel, built and applied to random values."""
    random = np.random.default_rng(0)
    if precision == "float32":
        function = conv2d_float.kernel(
            conv, residual=residual, clip=(0.0, float("inf")), target=target
        )
        weights = packed_float_shape(conv.weight_shape, conv.groups)
        shapes = [conv.input_shape, weights, (conv.out_channels,)]
        shapes += [conv.output_shape] * (residual + 1)
        arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
    else:
        weight_bits, input_bits = map(int, precision.removeprefix("w").split("a"))
        if input_bits < 8 and (conv.in_channels == 3 or conv.height == 1):
            weight_bits = input_bits = 8
        function, arrays = _integer(conv, weight_bits, input_bits, residual, target, random)
    module = tvm.tirx.build(function.with_attr("global_symbol", "main"), target)
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    kernel = module["main"]
    return lambda: kernel(*tensors)


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
    if text != "float32" and not re.fullmatch("w[1-8]a[1-8]", text):
        raise argparse.ArgumentTypeError(f"{text!r}: allowed are float32 and w1a1 to w8a8")
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
    parser.add_argument("--network", choices=NETWORKS, default="resnet50")
    parser.add_argument("--shapes", type=int)
    arguments = parser.parse_args()
    main(arguments.precisions, arguments.shapes, arguments.network)
