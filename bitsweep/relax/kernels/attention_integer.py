"""Self-attention of unsigned 8-bit integers, of the same bits on every machine.

The exponential function of softmax is a polynomial in integers, and a sum of weights is divided by
once for each element of the output, in float32: what rounds there is one operation at a time.
"""

import tvm
from tvm.tirx.script import builder as T

from . import attention
from .dot import Dot
from .geometry import Attention
from .lanes import load, store
from .packing import LANES, QUAD

_REACH = 2**28
_TERMS = (-1292, 7562, -22653, 32767)
_MOST_HALVINGS = 15
_SIGNED = 0x80808080  # turns bytes less 128 into signed ones


def kernel(shape: Attention, target: tvm.target.Target) -> tvm.tirx.PrimFunc:
    """The kernel of `bitsweep.qattention`, as `op.call` says.

    What differs between attentions of one shape are arguments, so that they share their code.

    Returns:
        A function of (data, [bias, kind], factors, points, out): float32 (2,) of `score_scale` and
        `value_scale`, int32 (4,) of `input_zero_point`, `output_zero_point`, `clip_min` and
        `clip_max`.
    """
    return attention.kernel(shape, Bytes(target), target)


class Bytes:
    """A dot product of 4 bytes, of 16 keys or of 16 elements of a value."""

    dtype = "uint8"
    score = "int32"
    lowest = -4 * _REACH
    step = QUAD

    def __init__(self, target: tvm.target.Target) -> None:
        self._dot = Dot(target)

    def declare(self) -> None:
        self._factors = T.arg("factors", T.buffer((2,), "float32"))
        self._points = T.arg("points", T.buffer((4,), "int32"))

    def pack(self, shape: Attention, data: tvm.tirx.Buffer) -> None:
        """Keys by block, 4 elements and lane; values by 4 tokens, block and lane; both signed."""
        self._shape, self._data = shape, data
        self._quads = quads = shape.size // QUAD
        self._fours = shape.blocks * LANES // QUAD
        self._keys = T.alloc_buffer((shape.pairs * shape.blocks * quads * LANES,), "int32")
        self._starts = T.alloc_buffer((shape.pairs * shape.blocks * LANES,), "int32")
        self._values = T.alloc_buffer((shape.pairs * self._fours * shape.size,), "int32")
        with T.parallel(0, shape.pairs * shape.blocks) as task:
            pair, first = T.Bind(task // shape.blocks), T.Bind(task % shape.blocks * LANES)
            with T.serial(0, LANES) as lane:
                source = T.Bind(attention.read(shape, pair, first + lane, 1))
                with T.serial(0, quads) as quad:
                    word = T.reinterpret("uint32", load(data, source + quad * QUAD, QUAD))
                    word = T.reinterpret("int32", word ^ T.uint32(_SIGNED))
                    T.buffer_store(self._keys, word, [(task * quads + quad) * LANES + lane])
            ones = self._dot.activations(T.int32(0x01010101))
            sums = attention.multiply(
                *(1, 1, quads, [_lanes(0)]),
                lambda _, __: ones,
                lambda _, quad: self._dot.weights(_bytes(self._keys, task * quads + quad)),
                self._dot,
            )
            start = sums[0][0] * T.broadcast(-self._points[0], LANES)
            store(self._starts, task * LANES, start)
            for four in range(LANES // QUAD):
                tokens = [first + four * QUAD + byte for byte in range(QUAD)]
                rows = [T.Bind(attention.read(shape, pair, token, 2)) for token in tokens]
                row = T.Bind(task * (LANES // QUAD) + four)
                for block in range(shape.size // LANES):
                    word = T.broadcast(T.uint32(_SIGNED), LANES)
                    for byte, at in enumerate(rows):
                        part = load(data, at + block * LANES, LANES)
                        part = T.Cast(f"uint32x{LANES}", part)
                        word = word ^ part << T.broadcast(T.uint32(8 * byte), LANES)
                    word = T.reinterpret(f"int32x{LANES}", word)
                    store(self._values, row * shape.size + block * LANES, word)

    def products(
        self, pair: tvm.ir.Expr, queries: list[tvm.ir.Expr], block: tvm.ir.Expr, blocks: int
    ) -> list[list[tvm.ir.Expr]]:
        quads = self._quads
        first = T.Bind(pair * self._shape.blocks + block)

        def query(row: int, step: tvm.ir.Expr) -> list[tvm.ir.Expr]:
            quad = load(self._data, queries[row] + step * QUAD, QUAD)
            return self._dot.activations(T.reinterpret("int32", quad))

        def keys(b: int, step: tvm.ir.Expr) -> list[tvm.ir.Expr]:
            return self._dot.weights(_bytes(self._keys, (first + b) * quads + step))

        starts = [load(self._starts, (first + b) * LANES, LANES) for b in range(blocks)]
        return attention.multiply(len(queries), blocks, quads, starts, query, keys, self._dot)

    def scaled(self, product: tvm.ir.Expr) -> tvm.ir.Expr:
        real = T.Cast(f"float32x{LANES}", product) * T.broadcast(self._factors[0], LANES)
        real = T.max(T.min(real, _reals(_REACH)), _reals(-_REACH))
        return T.Cast(f"int32x{LANES}", T.nearbyint(real))

    def weigh(self, score: tvm.ir.Expr, top: tvm.ir.Expr) -> tvm.ir.Expr:
        less = T.Bind(top - score)
        halvings = T.Bind(T.min(less >> _lanes(16), _lanes(_MOST_HALVINGS)))
        rest = T.Bind((less & _lanes(2**16 - 1)) >> _lanes(1))
        value = _lanes(_TERMS[0])
        for term in _TERMS[1:]:
            value = T.Bind((value * rest >> _lanes(15)) + _lanes(term))
        half = _lanes(2**14) << halvings
        return (value * _lanes(255) + half) >> (halvings + _lanes(15))

    def mix(self, pair, weights, totals, registers, write) -> None:
        shape, (weights, width) = self._shape, weights
        rows, whole = len(totals), shape.size // LANES
        blocks = attention.at_once(rows, whole, registers)
        first = T.Bind(pair * self._fours)
        weights = self._as_bytes(weights, rows * width)
        # what makes a value of its signed byte is the same for all elements
        starts = [T.Bind(total * (128 - self._points[0])) for total in totals]
        factors = [T.Bind(self._factors[1] / T.Cast("float32", total)) for total in totals]
        zero_point, least, greatest = (
            T.Bind(T.broadcast(self._points[index], LANES)) for index in range(1, 4)
        )
        with T.serial(0, -(-whole // blocks)) as group:
            start = T.Bind(T.min(group * blocks, whole - blocks))

            def weight(row: int, step: tvm.ir.Expr) -> list[tvm.ir.Expr]:
                quad = load(weights, row * width + step * QUAD, QUAD)
                return self._dot.activations(T.reinterpret("int32", quad))

            def values(b: int, step: tvm.ir.Expr) -> list[tvm.ir.Expr]:
                at = (first + step) * whole + start + b
                return self._dot.weights(_bytes(self._values, at))

            zeros = [_lanes(0)] * blocks
            sums = attention.multiply(
                rows, blocks, -(-shape.tokens // QUAD), zeros, weight, values, self._dot
            )
            for row, vectors in enumerate(sums):
                for b, vector in enumerate(vectors):
                    total = vector + T.broadcast(starts[row], LANES)
                    real = T.Cast(f"float32x{LANES}", total) * T.broadcast(factors[row], LANES)
                    real = T.max(T.min(real, _reals(_REACH)), _reals(-_REACH))
                    value = T.Cast(f"int32x{LANES}", T.nearbyint(real)) + zero_point
                    value = T.max(T.min(value, greatest), least)
                    write(row, (start + b) * LANES, T.Cast(f"uint8x{LANES}", value))

    @staticmethod
    def _as_bytes(weights: tvm.tirx.Buffer, count: int) -> tvm.tirx.Buffer:
        small = T.alloc_buffer((count,), "uint8")
        with T.serial(0, count // LANES) as vector:
            part = load(weights, vector * LANES, LANES)
            store(small, vector * LANES, T.Cast(f"uint8x{LANES}", part))
        return small


def _bytes(words: tvm.tirx.Buffer, vector: tvm.ir.Expr) -> tvm.ir.Expr:
    """Vector number `vector` of a flat buffer, as signed bytes."""
    return T.reinterpret(f"int8x{LANES * QUAD}", load(words, vector * LANES, LANES))


def _lanes(value: int) -> tvm.ir.Expr:
    return T.broadcast(T.int32(value), LANES)


def _reals(value: float) -> tvm.ir.Expr:
    return T.broadcast(T.float32(value), LANES)
