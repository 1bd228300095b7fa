"""Self-attention in float32."""

import numpy as np
import tvm
from tvm.tirx.script import builder as T

from . import attention
from .exponential import exp
from .geometry import Attention
from .lanes import load
from .packing import LANES


def kernel(shape: Attention, target: tvm.target.Target) -> tvm.tirx.PrimFunc:
    """The kernel of softmax(scale · q·kᵀ + bias)·v, of (data, [bias, kind], scale, out).

    Scale is float32 (1,).
    """
    return attention.kernel(shape, Floats(), target)


class Floats:
    """A multiplication and an addition of 16 keys, or 16 elements of a value."""

    dtype = score = "float32"
    lowest = float(np.finfo(np.float32).min)
    step = 1

    def declare(self) -> None:
        self._scale = T.arg("scale", T.buffer((1,), "float32"))

    def pack(self, shape: Attention, data: tvm.tirx.Buffer) -> None:
        """Keys by block, element and lane; values are read where they are."""
        self._shape, self._data = shape, data
        self._keys = T.alloc_buffer((shape.pairs * shape.blocks * shape.size * LANES,), "float32")
        with T.parallel(0, shape.pairs * shape.blocks) as task, T.serial(0, LANES) as lane:
            token = task % shape.blocks * LANES + lane
            source = T.Bind(attention.read(shape, task // shape.blocks, token, 1))
            with T.serial(0, shape.size) as element:
                at = (task * shape.size + element) * LANES + lane
                T.buffer_store(self._keys, data[source + element], [at])

    def products(
        self, pair: tvm.ir.Expr, queries: list[tvm.ir.Expr], block: tvm.ir.Expr, blocks: int
    ) -> list[list[tvm.ir.Expr]]:
        size = self._shape.size
        first = T.Bind((pair * self._shape.blocks + block) * size)

        def query(row: int, step: tvm.ir.Expr) -> tvm.ir.Expr:
            return T.Bind(T.broadcast(self._data[queries[row] + step], LANES))

        def keys(b: int, step: tvm.ir.Expr) -> tvm.ir.Expr:
            return T.Bind(load(self._keys, (first + b * size + step) * LANES, LANES))

        zeros = [T.broadcast(T.float32(0), LANES)] * blocks
        return attention.multiply(len(queries), blocks, size, zeros, query, keys, _added)

    def scaled(self, product: tvm.ir.Expr) -> tvm.ir.Expr:
        return product * T.broadcast(self._scale[0], LANES)

    def weigh(self, score: tvm.ir.Expr, top: tvm.ir.Expr) -> tvm.ir.Expr:
        return exp(score - top)

    def mix(self, pair, weights, totals, registers, write) -> None:
        shape, (weights, width) = self._shape, weights
        rows, whole = len(totals), shape.size // LANES
        blocks = attention.at_once(rows, whole, registers)
        first = T.Bind(attention.read(shape, pair, 0, 2))
        zeros = [T.broadcast(T.float32(0), LANES)] * blocks
        factors = [T.Bind(T.broadcast(T.float32(1) / total, LANES)) for total in totals]
        with T.serial(0, -(-whole // blocks)) as group:
            start = T.Bind(T.min(group * blocks, whole - blocks) * LANES)

            def weight(row: int, step: tvm.ir.Expr) -> tvm.ir.Expr:
                return T.Bind(T.broadcast(weights[row * width + step], LANES))

            def values(b: int, step: tvm.ir.Expr) -> tvm.ir.Expr:
                at = first + step * shape.channels + start + b * LANES
                return T.Bind(load(self._data, at, LANES))

            sums = attention.multiply(rows, blocks, shape.tokens, zeros, weight, values, _added)
            for row, vectors in enumerate(sums):
                for b, vector in enumerate(vectors):
                    write(row, start + b * LANES, vector * factors[row])


def _added(total: tvm.ir.Expr, factor: tvm.ir.Expr, other: tvm.ir.Expr) -> tvm.ir.Expr:
    return total + factor * other
