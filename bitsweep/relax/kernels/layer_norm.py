"""Layer normalisation over the last axis."""

import math

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .attributes import mark
from .lanes import across, load, on_stack, store
from .packing import LANES
from .staging import flat


def kernel(shape: tuple[int, ...], epsilon: float) -> tvm.tirx.PrimFunc:
    """A function of (x, gamma, beta, out), float32: a row of x less its mean, by its deviation.

    A row is read thrice, from the cache: for its mean, for its variance, which cancels nothing
    so, and for the result.

    Args:
        shape: of x; the last extent is a multiple of 16.
        epsilon: is added to the variance.
    """
    *outer, channels = shape
    blocks = channels // LANES
    at_once = next(count for count in (4, 3, 2, 1) if blocks % count == 0)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        x = T.arg("x", T.buffer(shape, "float32"))
        gamma = T.arg("gamma", T.buffer((channels,), "float32"))
        beta = T.arg("beta", T.buffer((channels,), "float32"))
        out = flat(T.arg("out", T.buffer(shape, "float32")))
        x, gamma, beta = flat(x), flat(gamma), flat(beta)

        with T.parallel(0, math.prod(outer)) as row:
            start = T.Bind(row * channels)

            def mean(value) -> tvm.ir.Expr:
                """The mean of a function of the row's vectors, in all lanes."""
                totals = [on_stack(LANES, "float32") for _ in range(at_once)]
                for total in totals:
                    store(total, 0, T.broadcast(T.float32(0), LANES))
                with T.serial(0, blocks // at_once) as step:
                    for number, total in enumerate(totals):
                        at = start + (step * at_once + number) * LANES
                        store(total, 0, load(total, 0, LANES) + value(load(x, at, LANES)))
                whole = load(totals[0], 0, LANES)
                for total in totals[1:]:
                    whole = whole + load(total, 0, LANES)
                whole = across(whole, lambda a, b: a + b)
                return T.Bind(T.broadcast(whole * T.float32(1 / channels), LANES))

            def squared(vector: tvm.ir.Expr) -> tvm.ir.Expr:
                deviation = T.Bind(vector - middle)
                return deviation * deviation

            middle = mean(lambda vector: vector)
            variance = mean(squared) + T.broadcast(T.float32(epsilon), LANES)
            factor = T.Bind(T.broadcast(T.float32(1), LANES) / T.sqrt(variance))
            with T.serial(0, blocks) as block:
                at = T.Bind(block * LANES)
                value = (load(x, start + at, LANES) - middle) * factor
                value = value * load(gamma, at, LANES) + load(beta, at, LANES)
                store(out, start + at, value)
    return builder.get()
