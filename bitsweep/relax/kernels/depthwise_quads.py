"""The product of depthwise convolutions of bytes by 4-byte dot products.

Four rows of a column of the image lie in a vector, the bytes of a channel side by side: one dot
product multiplies them by up to four taps of a column of the window. All windows that the column
lies in share the vector, also those of other rows of the tile: their taps are at other bytes.
"""

from itertools import product

import tvm
from tvm.tirx.script import builder as T

from . import windows
from .accumulators import Accumulators
from .dot import Dot, vector_registers
from .geometry import Conv2D
from .lanes import load, store
from .packing import LANES, QUAD, container_bits, packed_integer_shape
from .staging import Staged, flat
from .tiling import Place, Tile, candidates, cores, tasks
from .unpacking import singles

# what it takes to make a vector of four rows, what surrounds a sum, and a tile
_GATHER, _SUM, _TILE = 7, 16, 40
# registers for the vector of four rows while it is made
_GATHERED = 3
# the dot products of a tile's code, which has no loops
_MOST_CODE = 256


class DepthwiseQuads:
    """A product of 4 bytes, rows of a column, in 16 channels; for targets of VNNI."""

    accumulator = "int32"
    unpacks = False

    def __init__(self, weight_bits: int, input_zero_point: int, target: tvm.target.Target) -> None:
        self._bits = weight_bits
        self._container = container_bits(weight_bits)
        self._padding_value = input_zero_point
        self._target = target

    def tiles(self, conv: Conv2D) -> list[Tile]:
        registers = vector_registers(self._target) - _GATHERED
        tiles = [tile for tile in candidates(conv, registers) if self._fits(conv, tile)]
        share = cores(self._target)
        return sorted(
            tiles, key=lambda tile: -(-tasks(conv, tile) // share) * self._cycles(conv, tile)
        )

    def declare(self, conv: Conv2D) -> None:
        shape = packed_integer_shape(conv.weight_shape, self._bits, conv.groups)
        self._x = T.arg("x", T.buffer(conv.input_shape, "uint8"))
        self._weight = T.arg("weight", T.buffer(shape, "uint8"))

    def stage(self, conv: Conv2D, tile: Tile) -> Staged:
        self._spread(conv, tile)
        staged, self._view = windows.view(self._x, conv, self._padding_value)
        return staged

    def add(self, conv: Conv2D, staged: Staged, place: Place, sums: Accumulators) -> None:
        taps = _taps(conv, sums.tile)
        order = {key: number for number, key in enumerate(taps)}
        dot = Dot(self._target)
        seen = windows.Windows(self._view, staged, place, sums.tile)
        across = {at: seen.column(at) for at in windows.columns(conv, sums.tile)}
        first = T.Bind(place.block * len(taps))
        sums.start()
        for quad in sorted({quad for _, quad, _ in taps}):
            used = sorted({b for (_, q, _), bytes_ in taps.items() if q == quad for b in bytes_})
            rows = {byte: seen.row((quad * QUAD + byte) * conv.dilation[0]) for byte in used}
            inside = _word({byte: is_inside for byte, (_, is_inside) in rows.items()})
            for column, readers in windows.columns(conv, sums.tile).items():
                offset, column_inside = across[column]
                vectors = {
                    byte: T.Bind(load(staged.data, base + offset, LANES))
                    for byte, (base, _) in rows.items()
                }
                # a byte that no window reads is multiplied by zero, whatever it is
                ordered = [vectors.get(byte, vectors[used[0]]) for byte in range(QUAD)]
                lanes = [LANES * byte + lane for lane in range(LANES) for byte in range(QUAD)]
                image = T.reinterpret(f"int32x{LANES}", T.Shuffle(ordered, lanes))
                image = self._padded(image, inside, column_inside)
                image = [T.Bind(T.reinterpret(f"int8x{LANES * QUAD}", image))]
                for (at, tap), row in product(readers, range(sums.tile.rows)):
                    if (row, quad, tap) not in order:
                        continue
                    number = first + order[row, quad, tap]
                    vector = load(self._spread_weights, number * LANES, LANES)
                    vector = dot.weights(T.reinterpret(f"int8x{LANES * QUAD}", vector))
                    pixel = row * sums.tile.columns + at
                    sums.update(pixel, 0, lambda acc, x=image, w=vector: dot(acc, x, w))

    def _padded(
        self, image: tvm.ir.Expr, inside: tvm.ir.Expr | None, column_inside: tvm.ir.Expr | None
    ) -> tvm.ir.Expr:
        """int32x16 of four rows with the padding where they are outside the image."""
        if column_inside is not None:
            zero, all_ = T.int32(0), T.int32(-1)
            inside = T.Bind(T.Select(column_inside, all_ if inside is None else inside, zero))
        if inside is None:
            return image
        padding = T.int32(-1) - inside & T.int32(_signed(0x01010101 * self._padding_value))
        return image & T.broadcast(inside, LANES) | T.broadcast(T.Bind(padding), LANES)

    def _spread(self, conv: Conv2D, tile: Tile) -> None:
        """Emit the loop that puts the taps of each block at their bytes."""
        weights = flat(self._weight)
        blocks, rows, _ = packed_integer_shape(conv.weight_shape, self._bits, conv.groups)
        taps = _taps(conv, tile)
        self._spread_weights = T.alloc_buffer((blocks * len(taps) * LANES,), "int32")
        per = 8 // self._container
        with T.serial(0, blocks) as block:
            for number, ((_, _, across), bytes_) in enumerate(taps.items()):
                word = T.broadcast(T.int32(0), LANES)
                for byte, down in bytes_.items():
                    tap = down * conv.kernel[1] + across
                    packed = T.Bind(load(weights, (block * rows + tap // per) * LANES, LANES))
                    value = singles(packed, self._bits, T.int32(tap % per * self._container))
                    value = value & T.broadcast(T.int32(255), LANES)
                    word = word | value << T.broadcast(T.int32(8 * byte), LANES)
                store(self._spread_weights, (block * len(taps) + number) * LANES, word)

    @staticmethod
    def _fits(conv: Conv2D, tile: Tile) -> bool:
        """Whether its rows can share vectors, and its code is not too long."""
        shares = tile.rows == 1 or conv.strides[0] % conv.dilation[0] == 0
        return shares and (
            len(tile.pixels) == 1 or len(_taps(conv, tile)) * tile.columns <= _MOST_CODE
        )

    @staticmethod
    def _cycles(conv: Conv2D, tile: Tile) -> float:
        """About what a tile takes, in instructions."""
        taps = _taps(conv, tile)
        gathers = len({quad for _, quad, _ in taps}) * len(windows.columns(conv, tile))
        return gathers * _GATHER + len(taps) * tile.columns + len(tile.pixels) * _SUM + _TILE


def _taps(conv: Conv2D, tile: Tile) -> dict[tuple[int, int, int], dict[int, int]]:
    """By row of the tile, four rows of the image and column of the window: the row of the window
    that each byte is multiplied by. What is left out is zero."""
    taps = {}
    for row, down, across in product(range(tile.rows), *map(range, conv.kernel)):
        quad, byte = divmod(row * conv.strides[0] // conv.dilation[0] + down, QUAD)
        taps.setdefault((row, quad, across), {})[byte] = down
    return taps


def _word(inside: dict[int, tvm.ir.Expr | None]) -> tvm.ir.Expr | None:
    """int32 with all bits of the bytes that are in the image, None where that is certain."""
    if all(is_inside is None for is_inside in inside.values()):
        return None
    word = T.int32(-1)
    for byte, is_inside in inside.items():
        if is_inside is not None:
            outside = T.int32(_signed(0xFFFFFFFF - (0xFF << 8 * byte)))
            word = word & T.Select(is_inside, T.int32(-1), outside)
    return T.Bind(word)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word
