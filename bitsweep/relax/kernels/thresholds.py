"""From accumulators to integers of few bits, by comparing with the least of each integer.

An integer of an output without a residual grows with the accumulator, so that out ≥ k is acc > T_k:
a comparison where `requantization` multiplies and shifts in 64 bits, and the same bits come out.
With a residual of few bits there are thresholds for each of its values.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import tvm
from tvm.tirx.script import builder as T

from .accumulators import Finish
from .geometry import Conv2D
from .lanes import Lanes, load, padded
from .packing import LANES
from .planes import PlaneStore, signs
from .requantization import Residual
from .staging import flat

_LEAST, _GREATEST = -(2**31), 2**31 - 1


def thresholds(
    multiplier: np.ndarray,
    shift: np.ndarray,
    half: np.ndarray,
    *,
    zero_point: int,
    clip: tuple[int, int],
    residuals: Sequence[int] = (0,),
    residual_multiplier: np.ndarray | None = None,
) -> np.ndarray:
    """What accumulators above −2^31 are compared with.

    Args:
        multiplier: int32 (O,), none negative; `shift`, `half` and `residual_multiplier` (O,) too.
        zero_point: of the output.
        clip: the least and the greatest integer of the output.
        residuals: each value that a residual can have, its zero point subtracted.

    Returns:
        int32 (values of the residual, greatest − least, O): [r, k] is exceeded where the output is
        more than least + k.

    Raises:
        ValueError: a multiplier is negative.
    """
    if np.any(multiplier < 0):
        raise ValueError("thresholds are for multipliers that are not negative")
    # in Python's integers, which have no width
    by, bits, rounding = (values.astype(object) for values in (multiplier, shift, half))
    of_residual = 0 if residual_multiplier is None else residual_multiplier.astype(object)
    table = np.empty((len(residuals), clip[1] - clip[0], len(multiplier)), np.int32)
    for (r, residual), k in product(enumerate(residuals), range(table.shape[1])):
        least = ((clip[0] + k + 1 - zero_point) << bits) - rounding - residual * of_residual
        always = np.where(least <= 0, _LEAST, _GREATEST)
        value = np.where(by == 0, always, (least - 1) // np.where(by == 0, 1, by))
        table[r, k] = np.clip(value, _LEAST, _GREATEST)
    return table


class Thresholds:
    """Emits the comparisons of a kernel whose output are planes, in the order of its methods."""

    dtype = "uint16"
    is_dense = True

    def __init__(self, clip: tuple[int, int], *, residual_planes: int, output_planes: int) -> None:
        """Take the bounds of the output, and the planes of residual (0: none) and output."""
        self._clip = clip
        self._residual_planes = residual_planes
        self._output_planes = output_planes

    def shape(self, conv: Conv2D) -> tuple[int, ...]:
        return PlaneStore(conv, self._output_planes).shape

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments thresholds, [residual]."""
        self._store = PlaneStore(conv, self._output_planes)
        levels = self._clip[1] - self._clip[0]
        rows = 2**self._residual_planes * levels
        channels = conv.out_channels
        self._table = T.arg("thresholds", T.buffer((rows // levels, levels, channels), "int32"))
        self._rows = rows
        if self._residual_planes:
            self._residual = Residual(conv, self._residual_planes)

    def prepare(self, groups: int, channels: int) -> None:
        """Make the thresholds readable in whole vectors of a group's `channels`."""
        # where there is no channel, nothing is above
        table = flat(self._table)
        self._padded, self._stride = padded(table, self._rows * groups, channels, _GREATEST)
        self._groups = groups
        if self._residual_planes:
            self._residual.prepare()

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr, out: tvm.tirx.Buffer) -> Finish:
        """Read the thresholds of a block; what it returns compares the block's vectors."""
        levels = self._clip[1] - self._clip[0]
        rows = []
        for row in range(self._rows):
            start = (row * self._groups + group) * self._stride + block * LANES
            rows.append(T.Bind(load(self._padded, start, LANES)))
        by_residual = [rows[r : r + levels] for r in range(0, self._rows, levels)]

        def compare(
            accumulator: tvm.ir.Expr, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr
        ) -> None:
            tables = by_residual
            planes = self._residual.planes(pixel, channel) if self._residual_planes else []
            for is_set in planes:
                tables = [
                    [T.Bind(T.Select(is_set, one, zero)) for zero, one in zip(*pair, strict=True)]
                    for pair in zip(tables[::2], tables[1::2], strict=True)
                ]
            (least,) = tables
            value = T.Bind(accumulator)
            above = [T.Bind(signs(T.Select(value > t, _byte(-1), _byte(0)))) for t in least]
            words = []
            for plane in range(self._output_planes):
                # a bit of the integer changes at each threshold where its value does
                word = T.uint16(0xFFFF * (self._clip[0] >> plane & 1))
                for k, passed in enumerate(above, self._clip[0]):
                    if (k ^ (k + 1)) >> plane & 1:
                        word = word ^ passed
                words.append(word)
            self._store.write(out, pixel, channel, words)

        return compare


def _byte(value: int) -> tvm.ir.Expr:
    return T.broadcast(T.int8(value), LANES)
