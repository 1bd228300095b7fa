"""How fast the kernels of `bitsweep.relax` run the layers of ResNet-50 on this machine's CPU.

    TVM_NUM_THREADS=2 python benchmarks/kernels.py [--shapes SHAPES] [PRECISION ...]

Prints, for each precision (float32, int8, int4, int2, int1) and each shape of its 54 layers (or the
first SHAPES), the seconds that the kernel took to build, the median milliseconds of a run on random
values and the multiply-accumulates per second; then the sum over the layers.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import tvm
from tvm.target.codegen import llvm_get_system_cpu, llvm_get_system_triple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bitsweep.relax.kernels import conv2d_float, conv2d_integer
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.kernels.packing import packed_float_shape, packed_integer_shape

PRECISIONS = ("float32", "int8", "int4", "int2", "int1")
REPEATS = 15


def main(precisions: Sequence[str], shapes: int | None) -> None:
    target = tvm.target.Target(
        {
            "kind": "llvm",
            "mtriple": llvm_get_system_triple(),
            "mcpu": llvm_get_system_cpu(),
            "num-cores": tvm.runtime.num_threads(),
        }
    )
    print(target)
    for precision in precisions:
        total_ms, build_s, total = 0.0, 0.0, 0
        print(f"\n{precision:<30} {'layers':>6} {'build s':>8} {'ms':>8} {'GMAC/s':>8}")
        for conv, residual, count in islice(layers(), shapes):
            started = time.perf_counter()
            run = _bind(conv, precision, residual, target)
            build_s += (spent := time.perf_counter() - started)
            ms = 1e3 * _median(run)
            total_ms += count * ms
            total += count
            size, name = conv.kernel[0], f"{conv.height}² × {conv.in_channels}"
            name = f"{name} → {conv.out_channels}, {size}×{size}/{conv.strides[0]}"
            print(f"{name:<30} {count:6} {spent:8.2f} {ms:8.3f} {conv.macs / ms / 1e6:8.1f}")
        print(f"{'all':<30} {total:6} {build_s:8.2f} {total_ms:8.3f}", flush=True)


def layers() -> Iterator[tuple[Conv2D, bool, int]]:
    """ResNet-50's convolutions and its dense layer: (shape, with a residual or not, how many)."""

    def conv(size: int, inputs: int, outputs: int, kernel: int, stride: int) -> Conv2D:
        return Conv2D(
            *(1, size, size, inputs, outputs),
            kernel=(kernel, kernel),
            strides=(stride, stride),
            padding=(kernel // 2,) * 4,
        )

    yield conv(224, 3, 64, 7, 2), False, 1
    size, inputs = 56, 64
    for middle, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        stride, outputs = 1 if middle == 64 else 2, 4 * middle
        yield conv(size, inputs, middle, 1, 1), False, 1
        yield conv(size, middle, middle, 3, stride), False, 1
        yield conv(size, inputs, outputs, 1, stride), False, 1
        size, inputs = size // stride, outputs
        yield conv(size, middle, outputs, 1, 1), True, blocks
        yield conv(size, outputs, middle, 1, 1), False, blocks - 1
        yield conv(size, middle, middle, 3, 1), False, blocks - 1
    yield conv(1, 2048, 1000, 1, 1), False, 1


def _bind(conv: Conv2D, precision: str, residual: bool, target: tvm.target.Target):
    """The kernel, built and applied to random values."""
    random = np.random.default_rng(0)
    outputs = conv.out_channels
    if precision == "float32":
        function = conv2d_float.kernel(
            conv, residual=residual, clip=(0.0, float("inf")), target=target
        )
        weights = packed_float_shape(conv.weight_shape, conv.groups)
        shapes = [conv.input_shape, weights, (outputs,), *[conv.output_shape] * (residual + 1)]
        arrays = [random.standard_normal(shape, np.float32) for shape in shapes]
    else:
        bits = int(precision.removeprefix("int"))
        function = conv2d_integer.kernel(
            conv,
            weight_bits=bits,
            input_zero_point=7,
            out_dtype="uint8",
            residual_zero_point=3 if residual else None,
            output_zero_point=5,
            clip=(5, 255),
            target=target,
        )

        def integers(shape: tuple[int, ...], dtype: str, low: int, high: int) -> np.ndarray:
            return random.integers(low, high, shape).astype(dtype)

        channel = (outputs,)
        arrays = [
            integers(conv.input_shape, "uint8", 0, 256),
            integers(packed_integer_shape(conv.weight_shape, bits, conv.groups), "uint8", 0, 256),
            integers(channel, "int32", -1000, 1000),
            integers(channel, "int32", 2**30, 2**31),
            shift := integers(channel, "int32", 36, 42),
            np.int64(1) << (shift.astype(np.int64) - 1),
        ]
        if residual:
            arrays.append(integers(conv.output_shape, "uint8", 0, 256))
            arrays.append(integers(channel, "int32", 2**30, 2**31))
        arrays.append(integers(conv.output_shape, "uint8", 0, 1))
    module = tvm.tirx.build(function.with_attr("global_symbol", "main"), target)
    tensors = [tvm.runtime.tensor(array) for array in arrays]
    kernel = module["main"]
    return lambda: kernel(*tensors)


def _median(run) -> float:
    """Seconds of a run."""
    run()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("precisions", nargs="*", default=PRECISIONS)
    parser.add_argument("--shapes", type=int)
    arguments = parser.parse_args()
    main(arguments.precisions, arguments.shapes)
