"""What the kernels of self-attention share: arguments, tiles of queries, softmax, two products.

A task takes some queries of a head: their products with all keys stay in a buffer of the cache,
where softmax turns them into the weights of the values.
"""

from collections.abc import Callable
from typing import Protocol

import tvm
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from . import choice, tiling
from .attributes import mark
from .choice import Tiled
from .dot import vector_registers
from .geometry import Attention, Conv2D
from .lanes import Lanes, across, load, on_stack, store
from .packing import LANES
from .staging import flat
from .tiling import Tile


class Arithmetic(Protocol):
    """How a kernel computes, in the order of its methods.

    Attributes:
        dtype: the type of the input and the output.
        score: the type of a score.
        lowest: a score less than all others, of what is no key.
        step: the elements of a head that a step of the products takes.
    """

    dtype: str
    score: str
    lowest: float
    step: int

    def declare(self) -> None:
        """Declare the arguments that it takes."""

    def pack(self, shape: Attention, data: tvm.tirx.Buffer) -> None:
        """Bring keys and values into the order in which the products read them."""

    def products(
        self, pair: tvm.ir.Expr, queries: list[tvm.ir.Expr], block: tvm.ir.Expr, blocks: int
    ) -> list[list[tvm.ir.Expr]]:
        """Of each query, given by its first element, the vectors of products with some keys."""

    def scaled(self, product: tvm.ir.Expr) -> tvm.ir.Expr:
        """A vector of scores, without a bias."""

    def weigh(self, score: tvm.ir.Expr, top: tvm.ir.Expr) -> tvm.ir.Expr:
        """The weights, of the type of scores, by the greatest score."""

    def mix(
        self,
        pair: tvm.ir.Expr,
        weights: tuple[tvm.tirx.Buffer, int],
        totals: list[tvm.ir.Expr],
        registers: int,
        write: Callable[[int, tvm.ir.Expr, tvm.ir.Expr], None],
    ) -> None:
        """Write (query, first element, vector) of the values by their weights.

        Args:
            pair: the window and the head.
            weights: those of all keys by query, and the elements from a query's to the next one's.
            totals: the sum of each query's weights.
            registers: the vectors that registers hold.
            write: writes a vector of the output.
        """


def kernel(shape: Attention, arithmetic: Arithmetic, target: tvm.target.Target):
    """The kernel of self-attention.

    Returns:
        A function of (data, [bias, kind], what `arithmetic` declares, out).
    """
    registers, cores = vector_registers(target), tiling.cores(target)
    # queries of a task as columns, and the vectors of keys whose sums are made at once
    product = Conv2D(1, 1, shape.tokens, shape.size, shape.blocks * LANES, (1, 1))
    return choice.made(
        Tiled(
            f"{type(arithmetic).__name__} of {shape}",
            tuple(tiling.by_cost(product, registers, cores, arithmetic.step)),
            lambda tile: _tiled(shape, arithmetic, registers, tile),
        )
    )


def _tiled(
    shape: Attention, arithmetic: Arithmetic, registers: int, tile: Tile
) -> tvm.tirx.PrimFunc:
    rows, blocks = tile.columns, tile.blocks
    tiles = -(-shape.tokens // rows)
    width = shape.blocks * LANES

    with IRBuilder() as builder, T.prim_func(s_tir=True):
        mark()
        data = T.arg("data", T.buffer(shape.input_shape, arithmetic.dtype))
        if shape.kinds:
            biases = (shape.kinds, shape.heads, shape.tokens, shape.tokens)
            bias = T.arg("bias", T.buffer(biases, arithmetic.score))
            kind = T.arg("kind", T.buffer((shape.windows,), "int32"))
        arithmetic.declare()
        out = flat(T.arg("out", T.buffer(shape.output_shape, arithmetic.dtype)))
        if shape.kinds:
            bias = flat(bias)
        arithmetic.pack(shape, flat(data))

        with T.parallel(0, shape.pairs * tiles) as task:
            pair = T.Bind(task // tiles)
            first = T.Bind(T.min(task % tiles * rows, shape.tokens - rows))
            scores = T.alloc_buffer((rows * width,), arithmetic.score)
            queries = [T.Bind(read(shape, pair, first + row, 0)) for row in range(rows)]
            with T.serial(0, -(-shape.blocks // blocks)) as group:
                block = T.Bind(T.min(group * blocks, shape.blocks - blocks))
                made = arithmetic.products(pair, queries, block, blocks)
                for row, vectors in enumerate(made):
                    for b, vector in enumerate(vectors):
                        store(scores, row * width + (block + b) * LANES, vector)

            totals = T.alloc_buffer((rows,), arithmetic.score)
            with T.serial(0, rows) as row:
                if shape.kinds:
                    head = kind[pair // shape.heads] * shape.heads + pair % shape.heads
                    start = T.Bind((head * shape.tokens + first + row) * shape.tokens)
                top = on_stack(LANES, arithmetic.score)
                store(top, 0, _lanes(arithmetic.lowest, arithmetic.score))
                with T.serial(0, shape.blocks) as b:
                    at = T.Bind(row * width + b * LANES)
                    score = arithmetic.scaled(load(scores, at, LANES))
                    if shape.kinds:
                        score = score + Lanes(shape.tokens, b).load(bias, start + b * LANES)
                    if shape.tokens % LANES:
                        lanes = T.ramp(b * LANES, 1, LANES)
                        is_key = lanes < T.broadcast(T.int32(shape.tokens), LANES)
                        lowest = _lanes(arithmetic.lowest, arithmetic.score)
                        score = T.Select(is_key, score, lowest)
                    score = T.Bind(score)
                    store(scores, at, score)
                    store(top, 0, T.max(load(top, 0, LANES), score))
                highest = T.broadcast(across(load(top, 0, LANES), T.max), LANES)
                highest = T.Bind(highest)
                total = on_stack(LANES, arithmetic.score)
                store(total, 0, _lanes(0, arithmetic.score))
                with T.serial(0, shape.blocks) as b:
                    at = T.Bind(row * width + b * LANES)
                    weight = T.Bind(arithmetic.weigh(load(scores, at, LANES), highest))
                    store(scores, at, weight)
                    store(total, 0, load(total, 0, LANES) + weight)
                T.buffer_store(totals, across(load(total, 0, LANES), lambda a, b: a + b), [row])

            def write(row: int, element: tvm.ir.Expr, vector: tvm.ir.Expr) -> None:
                store(out, _written(shape, pair, first + row) + element, vector)

            sums = [T.Bind(totals[row]) for row in range(rows)]
            arithmetic.mix(pair, (scores, width), sums, registers, write)
    return builder.get()


def read(shape: Attention, pair: tvm.ir.Expr, token: tvm.ir.Expr, part: int) -> tvm.ir.Expr:
    """The first element of a query (part 0), key (1) or value (2); beyond the last, of the last.

    Args:
        shape: the attention's.
        pair: the number of the window times the heads, and of the head.
        token: the number of the query, key or value.
        part: which of the three.
    """
    row = pair // shape.heads * shape.tokens + T.min(token, shape.tokens - 1)
    return row * shape.channels + shape.offsets[part] + pair % shape.heads * shape.size


def _written(shape: Attention, pair: tvm.ir.Expr, token: tvm.ir.Expr) -> tvm.ir.Expr:
    """The first element of a token's output."""
    row = pair // shape.heads * shape.tokens + token
    return (row * shape.heads + pair % shape.heads) * shape.size


def multiply(
    rows: int,
    blocks: int,
    steps: int,
    initial: list[tvm.ir.Expr],
    left: Callable[[int, tvm.ir.Expr], object],
    right: Callable[[int, tvm.ir.Expr], object],
    add: Callable[[tvm.ir.Expr, object, object], tvm.ir.Expr],
) -> list[list[tvm.ir.Expr]]:
    """Emit the sums of `rows` × `blocks` vectors over `steps`, in registers.

    Args:
        rows: how many factors of a step are on the left.
        blocks: how many are on the right.
        steps: over how many products a sum goes.
        initial: what the sums of a block start from.
        left: the factor of a row, by the step.
        right: the factor of a block, by the step.
        add: a sum with a product added.
    """
    dtype = initial[0].ty.dtype.with_lanes(1)
    sums = [[on_stack(LANES, dtype) for _ in range(blocks)] for _ in range(rows)]
    for b, value in enumerate(initial):
        for vectors in sums:
            store(vectors[b], 0, value)
    with T.serial(0, steps) as step:
        factors = [right(b, step) for b in range(blocks)]
        for row, vectors in enumerate(sums):
            factor = left(row, step)
            for vector, other in zip(vectors, factors, strict=True):
                store(vector, 0, add(load(vector, 0, LANES), factor, other))
    return [[load(vector, 0, LANES) for vector in vectors] for vectors in sums]


def at_once(rows: int, blocks: int, registers: int) -> int:
    """How many of some vectors can be summed by each of `rows` within the registers."""
    return max(1, min(blocks, (registers - 1) // (rows + 1)))


def _lanes(value: float, dtype: str) -> tvm.ir.Expr:
    return T.broadcast(tvm.tirx.const(value, dtype), LANES)
