"""Vectors of 16 channels where there may be fewer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tvm
from tvm.tirx.script import builder as T

from .packing import LANES
from .staging import flat

LINE = 64  # bytes of a line of a cache
_DATA = 1  # of the caches, as LLVM numbers them
_STACK = 16  # bytes to which TVM aligns what is on the stack


def load(buffer: tvm.tirx.Buffer, start: tvm.ir.Expr, count: int) -> tvm.ir.Expr:
    """The `count` elements of a flat buffer from `start` on."""
    return buffer[start if count == 1 else T.ramp(start, 1, count)]


def store(buffer: tvm.tirx.Buffer, start: tvm.ir.Expr, value: tvm.ir.Expr) -> None:
    """Write all lanes of `value` to a flat buffer from `start` on."""
    count = value.ty.dtype.lanes
    T.buffer_store(buffer, value, [start if count == 1 else T.ramp(start, 1, count)])


def prefetch(buffer: tvm.tirx.Buffer, start: tvm.ir.Expr, *, level: int, write: bool = False):
    """Ask for the line of an element to be brought into a core's cache, the first or the second."""
    hints = [T.int32(write), T.int32(4 - level), T.int32(_DATA)]
    T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", T.address_of(buffer[start]), *hints))


def on_stack(elements: int, dtype: str) -> tvm.tirx.Buffer:
    """A flat buffer below 1 KB, which LLVM keeps in registers where every index is a constant."""
    # TVM's allocator serves larger ones, and those of any other scope
    return T.alloc_buffer((elements,), dtype, scope="global")


@contextmanager
def on_lines(elements: int, dtype: str) -> Iterator[tvm.tirx.Buffer]:
    """A flat buffer of less than 1 KB − 48 bytes on the stack, from the start of a line.

    So no vector lies in two lines of the cache, whatever process and thread this is.
    """
    spare = LINE - _STACK
    local = on_stack(elements + spare * 8 // tvm.DataType(dtype).bits, dtype)
    last, mask = T.handle_add_byte_offset(local.data, spare), T.int64(-LINE)
    first = T.call_llvm_pure_intrin(local.data.ty, "llvm.ptrmask", last, mask)
    yield T.decl_buffer((elements,), dtype, data=T.Bind(first))
    prefetch(local, 0, level=1)  # TVM gives memory to others when it is named no more


def across(vector: tvm.ir.Expr, combine: Callable[[tvm.ir.Expr, tvm.ir.Expr], tvm.ir.Expr]):
    """The lanes of a vector combined."""
    lanes = LANES
    while lanes > 1:
        vector, lanes = T.Bind(vector), lanes // 2
        halves = [T.Shuffle([vector], list(range(start, start + lanes))) for start in (0, lanes)]
        vector = combine(*halves)
    return T.Bind(vector)


def padded(
    values: tvm.tirx.Buffer, groups: int, channels: int, fill: int
) -> tuple[tvm.tirx.Buffer, int]:
    """Values per channel, of which whole vectors can be read.

    Args:
        values: (groups · channels,).
        groups: the groups, each of which starts a vector.
        channels: channels of a group.
        fill: what the lanes without a channel hold.

    Returns:
        A flat buffer and the elements from one group's values to the next one's.
    """
    whole = -(-channels // LANES) * LANES
    if whole == channels:
        return flat(values), channels
    copy = T.alloc_buffer((groups * whole,), values.dtype)
    with T.serial(0, groups) as g:
        with T.serial(0, channels) as c:
            T.buffer_store(copy, values[g * channels + c], [g * whole + c])
        with T.serial(0, whole - channels) as c:
            T.buffer_store(copy, T.Cast(values.dtype, fill), [g * whole + channels + c])
    return copy, whole


class Lanes:
    """Reads and writes one block of 16 channels, of which the last block may have fewer."""

    def __init__(self, channels: int, block: tvm.ir.Expr) -> None:
        """Take block number `block` of ceil(channels / 16)."""
        self._channels = channels
        self._block = block

    def load(self, buffer: tvm.tirx.Buffer, start: tvm.ir.Expr) -> tvm.ir.Expr:
        """The 16 elements from `start` on; undefined where they belong to no channel."""
        if self._channels % LANES == 0:
            return load(buffer, start, LANES)
        local = on_stack(LANES, buffer.dtype)

        def move(at: int, count: int) -> None:
            store(local, at, load(buffer, start + at, count))

        self._each_piece(move)
        return load(local, 0, LANES)

    def store(self, buffer: tvm.tirx.Buffer, start: tvm.ir.Expr, value: tvm.ir.Expr) -> None:
        """Write those of the 16 lanes of `value` that are channels, from `start` on."""
        if self._channels % LANES == 0:
            store(buffer, start, value)
            return
        local = on_stack(LANES, buffer.dtype)
        store(local, 0, value)

        def move(at: int, count: int) -> None:
            store(buffer, start + at, load(local, at, count))

        self._each_piece(move)

    def _each_piece(self, move: Callable[[int, int], None]) -> None:
        """Call `move(first, count)` for parts that add up to the block's channels."""

        def rest() -> None:
            at = 0
            for count in (8, 4, 2, 1):
                if self._channels % LANES & count:
                    move(at, count)
                    at += count

        if self._channels < LANES:
            rest()
            return
        with T.If(self._block < self._channels // LANES):
            with T.Then():
                move(0, LANES)
            with T.Else():
                rest()
