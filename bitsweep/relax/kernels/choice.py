"""Which of the tiles that it can be cut into a kernel is made with.

It is that of the least predicted cost, unless others are chosen for a while, as by measurement.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import tvm

from .tiling import Tile


@dataclass(frozen=True)
class Tiled:
    """A kernel before it is known which tile it has; all compute the same, to the bit.

    Attributes:
        name: what it computes, for people.
        tiles: those that it can have, in the order of their predicted cost.
        make: makes it with one of them.
    """

    name: str
    tiles: tuple[Tile, ...]
    make: Callable[[Tile], tvm.tirx.PrimFunc]

    def digest(self) -> str:
        """What tells its code from that of others, the same in every process."""
        code = tvm.ir.save_json(self.make(self.tiles[0]))
        return hashlib.sha256(code.encode()).hexdigest()[:16]


Choice = Callable[[Tiled], Tile]

_choice: ContextVar[Choice] = ContextVar("choice", default=lambda kernel: kernel.tiles[0])


def made(kernel: Tiled) -> tvm.tirx.PrimFunc:
    """The kernel with the tile that is chosen."""
    return kernel.make(_choice.get()(kernel))


@contextmanager
def choosing(choice: Choice) -> Iterator[None]:
    """Have tiles chosen by `choice` of the kernels that are made in the block."""
    token = _choice.set(choice)
    try:
        yield
    finally:
        _choice.reset(token)
