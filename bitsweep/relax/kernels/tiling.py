"""How a convolution is cut into tiles whose accumulators fit in registers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import tvm
from tvm.tirx.script import builder as T

from .geometry import Conv2D
from .packing import LANES


@dataclass(frozen=True)
class Tile:
    """`rows` × `columns` output pixels of `blocks` × 16 output channels.

    Where a tile does not divide the output, the last one overlaps the one before: it computes
    the same values again, so no tile has a remainder.

    A tile that is `pipelined` is finished while the products of the next one are made.
    """

    rows: int
    columns: int
    blocks: int
    pipelined: bool = False

    @property
    def pixels(self) -> list[tuple[int, int]]:
        return list(product(range(self.rows), range(self.columns)))


@dataclass(frozen=True)
class Place:
    """Where a tile starts: expressions of its image, group, block and pixel."""

    image: tvm.ir.Expr
    group: tvm.ir.Expr
    block: tvm.ir.Expr
    row: tvm.ir.Expr
    column: tvm.ir.Expr


# the vectors that stay below the kilobyte up to which TVM puts a buffer on the stack
MAX_PIXELS = 15
# multiply-adds in flight that hide their latency, at two a cycle
_LATENCY = 10
# registers that finishing a tile takes, and what it loads for a vector
_BESIDE, _LOADS_BESIDE = 14, 3
# the part of their time that cores may be idle
_IDLE = 0.05


def cores(target: tvm.target.Target) -> int:
    """The cores that the target says that it has, 1 if it does not say."""
    return int(target.attrs.get("num-cores", 1))


def by_cost(
    conv: Conv2D,
    registers: int,
    cores: int,
    step: int,
    *,
    instructions: int = 1,
    passes: int = 1,
    pipelined: bool = False,
) -> list[Tile]:
    """The tiles that registers hold, that one first with which the busiest core is done first.

    So it is by a count of instructions.

    Args:
        conv: the convolution.
        registers: vectors of 16 lanes that registers hold.
        cores: cores that share the tiles.
        step: input channels of a step.
        instructions: what a step takes for one vector.
        passes: how often the window is walked.
        pipelined: whether the tile is to be.
    """
    steps = passes * conv.taps * -(-conv.inputs_per_group // step)
    return sorted(
        candidates(conv, registers, pipelined=pipelined),
        key=lambda tile: _cost(conv, tile, cores, steps, instructions),
    )


def candidates(conv: Conv2D, registers: int, *, pipelined: bool = False) -> Iterator[Tile]:
    """The tiles whose sums, with the weights and an activation of a step, registers hold."""
    registers -= _BESIDE if pipelined else 0
    for rows in range(1, min(conv.out_height, 4) + 1):
        for columns in range(1, min(conv.out_width, MAX_PIXELS // rows) + 1):
            for count in range(1, 2 if conv.depthwise else min(_blocks(conv), MAX_PIXELS) + 1):
                if rows * columns * count + count + 1 <= registers:
                    yield Tile(rows, columns, count, pipelined)


def place(conv: Conv2D, tile: Tile, task: tvm.ir.Expr, shares: int = 1) -> Place:
    """Where the tile number `task` of `tasks` lies.

    Neighbours share what they would read most of: the weights, where a convolution is depthwise
    the pixels.
    """
    extents = _extents(conv, tile)
    order = ["group", "block", "image", "row", "column"]
    if conv.depthwise:
        order = ["image", "row", "column", "group", "block"]
    elif shares > 1:
        pixels = _pixels(extents)
        each = -(-pixels // shares)
        blocks = extents["group"] * extents["block"]
        share = task // (blocks * each)
        pixel = T.min(share * each + task % each, pixels - 1)
        task = T.Bind(task // each % blocks * pixels + pixel)
    digits = {}
    for name in reversed(order):
        digits[name] = task % extents[name]
        task = task // extents[name]
    return Place(
        image=T.Bind(digits["image"]),
        group=T.Bind(digits["group"]),
        block=T.Bind(T.min(digits["block"] * tile.blocks, _blocks(conv) - tile.blocks)),
        row=T.Bind(T.min(digits["row"] * tile.rows, conv.out_height - tile.rows)),
        column=T.Bind(T.min(digits["column"] * tile.columns, conv.out_width - tile.columns)),
    )


def following(conv: Conv2D, tile: Tile, place: Place) -> Place:
    """Where the tiles lie that are of the next blocks of channels, if there are any."""
    last = _blocks(conv) - tile.blocks
    return replace(place, block=T.Bind(T.min(place.block + tile.blocks, last)))


def tasks(conv: Conv2D, tile: Tile, shares: int = 1) -> int:
    """How many tiles cover the output."""
    extents = _extents(conv, tile)
    return extents["group"] * extents["block"] * shares * run(conv, tile, shares)


def run(conv: Conv2D, tile: Tile, shares: int = 1) -> int:
    """How many tiles in a row are of the same blocks of channels, unless they are depthwise."""
    return -(-_pixels(_extents(conv, tile)) // shares)


def is_of_pixels(conv: Conv2D) -> bool:
    """Whether less comes from elsewhere to cores with pixels of their own than with channels.

    With pixels a core reads all weights. With channels it reads what the others made of the input,
    and they what it makes of the output.
    """
    strides = zip(conv.kernel, conv.strides, strict=True)
    read = math.prod(min(taps, stride) for taps, stride in strides) * conv.in_channels
    weights = conv.taps * conv.inputs_per_group * conv.out_channels
    pixels = conv.batch * conv.out_height * conv.out_width
    return weights < pixels * (read + conv.out_channels)


def shares_of_pixels(conv: Conv2D, tile: Tile, cores: int) -> int:
    """In how many parts the pixels are cut where cores have pixels of their own.

    As many as cores, where that leaves the cores about the same to do.
    """
    pixels = _pixels(_extents(conv, tile))
    return 1 if conv.depthwise or _idle(pixels, cores) > _IDLE else cores


def shares_of_runs(conv: Conv2D, tile: Tile, cores: int) -> int:
    """In how many parts the pixels are cut where cores take whole runs.

    In as few as leave the busiest core about as little to do as any number of parts does.
    """
    extents = _extents(conv, tile)
    runs = extents["group"] * extents["block"]
    busiest = {
        shares: -(-runs * shares // cores) * run(conv, tile, shares)
        for shares in range(1, min(cores, _pixels(extents)) + 1)
    }
    enough = min(busiest.values()) * (1 + _IDLE)
    return next(shares for shares, tiles in busiest.items() if tiles <= enough)


def _idle(parts: int, cores: int) -> float:
    """The time that cores are idle, of the time that equal parts take them."""
    return -(-parts // cores) * cores / parts - 1


def _pixels(extents: dict[str, int]) -> int:
    return extents["image"] * extents["row"] * extents["column"]


def _extents(conv: Conv2D, tile: Tile) -> dict[str, int]:
    return {
        "image": conv.batch,
        "group": 1 if conv.depthwise else conv.groups,
        "block": -(-_blocks(conv) // tile.blocks),
        "row": -(-conv.out_height // tile.rows),
        "column": -(-conv.out_width // tile.columns),
    }


def _blocks(conv: Conv2D) -> int:
    channels = conv.out_channels if conv.depthwise else conv.outputs_per_group
    return -(-channels // LANES)


def _cost(conv: Conv2D, tile: Tile, cores: int, steps: int, instructions: int) -> float:
    """About the cycles of the busiest core."""
    pixels = tile.rows * tile.columns
    accumulators = pixels * tile.blocks
    loads = pixels + tile.blocks + (_LOADS_BESIDE if tile.pipelined else 0)
    # two multiply-adds and two loads a cycle; then what surrounds a step, a vector and a tile
    step = max(instructions * accumulators, loads, _LATENCY) / 2 + 1 + tile.blocks / 2
    return -(-tasks(conv, tile) // cores) * (steps * step + 10 * accumulators + 20)
