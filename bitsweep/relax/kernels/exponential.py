"""The exponential function, and what is made of it, as arithmetic that vectors have.

LLVM would call the C library for each element.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from .attributes import mark
from .lanes import load, on_stack, store
from .packing import LANES
from .staging import flat

_TASK = 64  # vectors, enough to be worth a core's while
_LEAST, _GREATEST = -87.0, 88.0
# of the Cephes library's expf, for (exp(r) - 1 - r) / r² where |r| <= log(2) / 2
_EXP = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
# log(2) as what products with small integers hold exactly, and the rest
_LOG2_HIGH, _LOG2_LOW = 0.693359375, -2.12194440e-4
# of Press et al., Numerical Recipes (erfcc), for log(erfc(z) / t) + z² where t = 1 / (1 + z / 2)
_ERFC = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)


def terms() -> np.ndarray:
    """What `exp` needs of each element's power series, float32 (6,)."""
    return np.array(_EXP, np.float32)


def exp(x: tvm.ir.Expr, terms: Sequence[tvm.ir.Expr] | None = None) -> tvm.ir.Expr:
    """e^x to 2e-7 of its value where x is within -87 and 88, beyond as at those.

    Args:
        x: float32x16.
        terms: those of `terms` in all lanes, constants unless they are given.
    """
    terms = terms or [_reals(term) for term in _EXP]
    x = T.Bind(T.max(T.min(x, _reals(_GREATEST)), _reals(_LEAST)))
    steps = T.Bind(T.nearbyint(x * _reals(1 / math.log(2))))
    rest = T.Bind(x - steps * _reals(_LOG2_HIGH) - steps * _reals(_LOG2_LOW))
    value = _polynomial(terms, rest) * rest * rest + rest + _reals(1)
    exponent = T.Cast(f"int32x{LANES}", steps) + T.broadcast(T.int32(127), LANES)
    power = exponent << T.broadcast(T.int32(23), LANES)
    return value * T.reinterpret(f"float32x{LANES}", power)


def sigmoid(x: tvm.ir.Expr, terms: Sequence[tvm.ir.Expr]) -> tvm.ir.Expr:
    """1 / (1 + e^-x) to 3e-7 of its value where x is at least -87."""
    return _reals(1) / (_reals(1) + exp(_reals(0) - x, terms))


def silu(x: tvm.ir.Expr, terms: Sequence[tvm.ir.Expr]) -> tvm.ir.Expr:
    """x · sigmoid(x)."""
    return x * sigmoid(x, terms)


def gelu(x: tvm.ir.Expr, terms: Sequence[tvm.ir.Expr]) -> tvm.ir.Expr:
    """x · Φ(x), Φ the normal distribution's, to 2e-7 of |x|."""
    size = T.Bind(T.max(x, _reals(0) - x))
    z = T.Bind(size * _reals(math.sqrt(0.5)))
    t = T.Bind(_reals(1) / (_reals(1) + z * _reals(0.5)))
    tail = t * exp(_polynomial([_reals(term) for term in _ERFC], t) - z * z, terms)
    return T.max(x, _reals(0)) - size * _reals(0.5) * tail


def kernel(
    shape: tuple[int, ...],
    function: Callable[[tvm.ir.Expr, Sequence[tvm.ir.Expr]], tvm.ir.Expr],
) -> tvm.tirx.PrimFunc:
    """A function of (x, terms, out), float32, that is one of these of each element.

    The terms are an input because TVM takes a function of one input for a reshape.
    """
    count = math.prod(shape)
    vectors = count // LANES
    each = min(vectors, _TASK)

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        x = T.arg("x", T.buffer(shape, "float32"))
        terms = T.arg("terms", T.buffer((len(_EXP),), "float32"))
        out = T.arg("out", T.buffer(shape, "float32"))
        x, out = flat(x), flat(out)

        def of(vector: tvm.ir.Expr) -> tvm.ir.Expr:
            own = [T.Bind(T.broadcast(terms[number], LANES)) for number in range(len(_EXP))]
            return function(T.Bind(vector), own)

        if vectors:
            with T.parallel(0, -(-vectors // each)) as task:
                first = T.Bind(T.min(task * each, vectors - each))
                with T.serial(0, each) as vector:
                    at = T.Bind((first + vector) * LANES)
                    store(out, at, of(load(x, at, LANES)))
        if count % LANES:
            rest, start = on_stack(LANES, "float32"), vectors * LANES
            store(rest, 0, _reals(0))
            with T.serial(0, count % LANES) as lane:
                T.buffer_store(rest, x[start + lane], [lane])
            store(rest, 0, of(load(rest, 0, LANES)))
            with T.serial(0, count % LANES) as lane:
                T.buffer_store(out, rest[lane], [start + lane])
    return builder.get()


def _polynomial(terms: Sequence[tvm.ir.Expr], x: tvm.ir.Expr) -> tvm.ir.Expr:
    value = terms[0]
    for term in terms[1:]:
        value = value * x + term
    return value


def _reals(value: float) -> tvm.ir.Expr:
    return T.broadcast(T.float32(value), LANES)
