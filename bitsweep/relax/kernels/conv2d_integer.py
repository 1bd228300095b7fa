"""Convolutions of unsigned 8-bit activations by packed integer weights."""

import tvm
from tvm.tirx.script import builder as T

from . import frame, tiling
from .accumulators import Accumulators, Output
from .depthwise_quads import DepthwiseQuads
from .dot import Dot, has_vnni, vector_registers
from .geometry import Conv2D
from .lanes import load, prefetch, store
from .packing import LANES, QUAD, container_bits, packed_integer_shape
from .staging import Staged, flat, stage
from .tiling import Place, Tile
from .unpacking import quads, singles


def kernel(
    conv: Conv2D,
    *,
    weight_bits: int,
    input_zero_point: int,
    output: Output,
    target: tvm.target.Target,
) -> tvm.tirx.PrimFunc:
    """The kernel of a convolution; a dense layer is one of a 1×1 window.

    Its sums are bias + Σ x·w, int32, where `input_zero_point` pads x.

    Args:
        conv: the convolution, which gives the shapes of the arguments.
        weight_bits: the bits of a weight, 1 to 8.
        input_zero_point: the value that pads the image.
        output: what becomes of the sums.
        target: the target, whose instructions choose the code.

    Returns:
        A function of (x, weight as `pack_integer` packs it, bias, what `output` declares, out).

    Raises:
        ValueError: as of `container_bits`.
    """
    of_bytes = Bytes
    if conv.depthwise:
        of_bytes = DepthwiseQuads if has_vnni(target) else DepthwiseBytes
    product = of_bytes(weight_bits, input_zero_point, target)
    return frame.kernel(conv, product, output, tiling.cores(target))


_VECTOR = LANES * QUAD
_SHORT = 128  # steps


class Bytes:
    """A dot product of 4 bytes in 16 channels."""

    accumulator = "int32"

    def __init__(self, weight_bits: int, input_zero_point: int, target: tvm.target.Target) -> None:
        self._bits = weight_bits
        self._container = container_bits(weight_bits)
        self._per = 8 // self._container
        self._padding_value = input_zero_point
        self._target = target

    @property
    def unpacks(self) -> bool:
        return self._per > 1

    def tiles(self, conv: Conv2D) -> list[Tile]:
        # where steps are few, finishing the sums takes as long as they do; other units do it
        is_short = conv.taps == 1 and self._steps(conv) <= _SHORT
        pipelined = is_short and has_vnni(self._target)
        registers, cores = vector_registers(self._target), tiling.cores(self._target)
        return tiling.by_cost(conv, registers, cores, step=QUAD, pipelined=pipelined)

    def declare(self, conv: Conv2D) -> None:
        shape = packed_integer_shape(conv.joined(self._bits).weight_shape, self._bits, conv.groups)
        self._x = T.arg("x", T.buffer(conv.input_shape, "uint8"))
        self._weight = T.arg("weight", T.buffer(shape, "uint8"))

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
        self._weights = flat(self._weight)
        multiple = LANES if conv.depthwise else QUAD
        joined, spare = conv.joined(self._bits), 0
        if joined != conv:
            multiple, spare = 1, -joined.in_channels % QUAD
        return stage(
            *(self._x, conv), multiple=multiple, spare=spare, padding_value=self._padding_value
        )

    def unpack(self, conv: Conv2D, place: Place, tile: Tile) -> None:
        steps = self._steps(conv)
        first_row = self._first_row(conv, place)
        rows = -(-steps // self._per)
        self._unpacked = T.alloc_buffer((tile.blocks * rows * self._per * _VECTOR,), "int8")
        with T.serial(0, tile.blocks * rows) as row:
            packed = T.Bind(load(self._weights, (first_row + row) * _VECTOR, _VECTOR))
            for part in range(self._per):
                bit = T.int32(part * self._container)
                at = (row * self._per + part) * _VECTOR
                store(self._unpacked, at, quads(packed, self._bits, bit))

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        steps = self._steps(conv)
        dot = Dot(self._target)
        start = staged.start(conv, place)
        if self.unpacks:
            weights, first, stride = self._unpacked, 0, -(-steps // self._per) * self._per
        else:
            weights, first, stride = self._weights, self._first_row(conv, place), steps
        # the next blocks' weights, from memory, while many tiles use these
        asks = not self.unpacks and tiling.run(conv, sums.tile) > 1
        ahead = self._first_row(conv, tiling.following(conv, sums.tile, place)) if asks else None
        sums.start()

        def step(offset: tvm.ir.Expr, k4: tvm.ir.Expr) -> None:
            """Add the products of 4 input channels of one tap."""
            row = T.Bind(first + k4)
            vectors = []
            for b in range(sums.tile.blocks):
                vector = load(weights, (row + b * stride) * _VECTOR, _VECTOR)
                vectors.append(dot.weights(T.reinterpret(f"int8x{_VECTOR}", vector)))
                if asks:
                    prefetch(weights, (ahead + k4 + b * stride) * _VECTOR, level=2)
            at = T.Bind(start + offset)
            for p, pixel in enumerate(sums.tile.pixels):
                quad = load(staged.data, at + staged.window(conv, *pixel), QUAD)
                activations = dot.activations(T.reinterpret("int32", quad))
                for b, vector in enumerate(vectors):
                    sums.update(p, b, lambda acc, x=activations, w=vector: dot(acc, x, w))

        joined = conv.joined(self._bits)
        staged.walk(joined, QUAD, -(-joined.inputs_per_group // QUAD), step, sums.beside)

    def _steps(self, conv: Conv2D) -> int:
        joined = conv.joined(self._bits)
        return joined.taps * -(-joined.inputs_per_group // QUAD)

    def _first_row(self, conv: Conv2D, place: Place) -> tvm.ir.Expr:
        """The first row of packed weights of a tile."""
        shape = conv.joined(self._bits).weight_shape
        _, blocks, rows, *_ = packed_integer_shape(shape, self._bits, conv.groups)
        return T.Bind((place.group * blocks + place.block) * rows)


class DepthwiseBytes(Bytes):
    """A product of a byte in 16 channels, every one with an activation of its own."""

    unpacks = False

    def tiles(self, conv: Conv2D) -> list[Tile]:
        # an activation and a product take a register each
        registers = vector_registers(self._target) - 2
        return tiling.by_cost(conv, registers, tiling.cores(self._target), step=1)

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        _, rows, _ = packed_integer_shape(conv.weight_shape, self._bits, conv.groups)
        start = staged.start(conv, place)
        sums.start()

        def step(offset: tvm.ir.Expr, tap: tvm.ir.Expr) -> None:
            """Add the products of one tap."""
            at = (place.block * rows + tap // self._per) * LANES
            bit = tap % self._per * self._container
            w = T.Bind(singles(load(self._weights, at, LANES), self._bits, bit))
            first = T.Bind(start + offset)
            for p, pixel in enumerate(sums.tile.pixels):
                vector = load(staged.data, first + staged.window(conv, *pixel), LANES)
                product = T.Cast(f"int32x{LANES}", vector) * w
                sums.update(p, 0, lambda acc, product=product: acc + product)

        staged.walk(conv, LANES, 1, step)
