"""Joining tensors along their last axis."""

import math
from collections.abc import Sequence

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .attributes import mark
from .lanes import load, store
from .packing import LANES
from .staging import flat


def kernel(shapes: Sequence[tuple[int, ...]], dtype: str) -> tvm.tirx.PrimFunc:
    """A function of (part 0, part 1, …, out): the parts side by side along the last axis.

    TVM's own asks of every element which part it comes from.

    Args:
        shapes: of the parts; equal but for the last extent.
        dtype: of all.
    """
    rows = math.prod(shapes[0][:-1])
    widths = [shape[-1] for shape in shapes]
    width = sum(widths)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        arguments = [
            T.arg(f"part_{index}", T.buffer(shape, dtype)) for index, shape in enumerate(shapes)
        ]
        out = T.arg("out", T.buffer((*shapes[0][:-1], width), dtype))
        parts, result = [flat(part) for part in arguments], flat(out)
        with T.parallel(0, rows) as row:
            start = 0
            for part, own in zip(parts, widths, strict=True):
                whole = own // LANES
                with T.serial(0, whole) as block:
                    vector = load(part, row * own + block * LANES, LANES)
                    store(result, row * width + start + block * LANES, vector)
                with T.serial(0, own - whole * LANES) as rest:
                    lane = whole * LANES + rest
                    T.buffer_store(result, part[row * own + lane], [row * width + start + lane])
                start += own
    return builder.get()
