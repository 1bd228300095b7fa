"""From int32 accumulators to the integers of an output.

out = clip(((acc·M + (residual − zero)·Mr + half) >> shift) + output zero, least, greatest)

in 64 bits, with an arithmetic shift; M, Mr, shift and half per output channel. A half of
2^(shift−1) rounds to nearest, ties up; it may hold a fraction of the accumulator's unit as well.

Where all shifts are 32 or more, what comes after the additions needs only the upper words of the 64
bits: floor(x / 2^shift) = floor(floor(x / 2^32) / 2^(shift−32)). `in_words` brings others there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tvm
from tvm.tirx.script import builder as T

from .accumulators import Finish
from .geometry import Conv2D
from .lanes import Lanes, load, padded
from .packing import LANES
from .planes import PlaneStore, bits_of
from .staging import flat

_WORD = 32
_MOST_WHOLE = 2**20  # times a byte, it leaves room in a word
_MOST_SHIFT = 53  # of a byte that leaves room in 64 bits


@dataclass(frozen=True)
class Words:
    """That upper words suffice.

    A residual is multiplied by `whole`, beside its multiplier, which is unsigned; its zero point is
    in the half, as is the output's unless that is `zero_point`. Without `shifts` all shifts are 32,
    so that there is nothing to shift.
    """

    whole: int
    shifts: bool
    zero_point: int


def in_words(
    multiplier: np.ndarray,
    shift: np.ndarray,
    half: np.ndarray,
    residual_multiplier: np.ndarray | None = None,
    *,
    residual_zero_point: int = 0,
    output_zero_point: int = 0,
) -> tuple[list[np.ndarray], Words] | None:
    """The same requantization by upper words: its arguments (O,) in their order, and what it is.

    Multiplied by a power of two, all but a residual's multiplier are exact in their types; of that,
    whole words are set apart. None where they are not, or differ between channels. Zero points are
    in the arguments, so that layers of one shape share their code.
    """
    up = np.maximum(_WORD - shift.astype(np.int64), 0)
    scaled = multiplier.astype(np.int64) << up
    if np.any(np.abs(scaled) >= 2**31):
        return None
    half = half << up
    shift = shift + up.astype(np.int32)
    shifts, zero_point = bool(np.any(shift > _WORD)), output_zero_point
    if np.all(shift <= _MOST_SHIFT):
        half, zero_point = half + (np.int64(zero_point) << shift.astype(np.int64)), 0
    arrays = [scaled.astype(np.int32), shift, half]
    if residual_multiplier is None:
        return arrays, Words(0, shifts, zero_point)
    if np.any(residual_multiplier < 0):
        return None
    other = residual_multiplier.astype(np.int64) << up
    whole = np.unique(other >> _WORD)
    if len(whole) > 1 or whole[0] > _MOST_WHOLE:
        return None
    arrays[2] = half - residual_zero_point * other
    arrays.append((other & (2**_WORD - 1)).astype(np.uint32).view(np.int32))
    return arrays, Words(int(whole[0]), shifts, zero_point)


class Requantization:
    """Emits the requantization of a kernel, in the order of its methods.

    Raises:
        ValueError: the output is neither uint8 nor int32, the bounds are no bytes in order, or
            int32 output has a residual or planes.
    """

    def __init__(
        self,
        out_dtype: str,
        residual_zero_point: int | None,
        output_zero_point: int,
        clip: tuple[int, int],
        *,
        residual_planes: int = 0,
        output_planes: int = 0,
        words: Words | None = None,
    ) -> None:
        """Take what `conv2d_integer.kernel` does.

        `residual_planes` is the number of planes of a residual, and `output_planes` that of the
        output, 0 where they are bytes. `words` are those of `in_words`, of the same arguments.
        """
        if out_dtype not in ("uint8", "int32"):
            raise ValueError(f"output is uint8 or int32, not {out_dtype}")
        self._is_raw = out_dtype == "int32"
        if self._is_raw and (residual_zero_point is not None or output_planes):
            raise ValueError("int32 output has no residual, and no planes")
        if not self._is_raw and not 0 <= clip[0] <= clip[1] <= 255:
            raise ValueError(f"{clip} are no bounds of uint8 output")
        self.dtype = "uint16" if output_planes else out_dtype
        self.is_dense = output_planes > 0
        self._residual_zero_point = residual_zero_point
        self._residual_planes = residual_planes
        self._output_planes = output_planes
        self._output_zero_point = words.zero_point if words else output_zero_point
        self._clip = clip
        self._words = words

    def shape(self, conv: Conv2D) -> tuple[int, ...]:
        if self._output_planes:
            return PlaneStore(conv, self._output_planes).shape
        return conv.output_shape

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments [multiplier, shift, half, [residual, residual_multiplier]]."""
        self._channels = conv.out_channels
        self._store = PlaneStore(conv, self._output_planes)
        if self._is_raw:
            return

        def per_channel(name: str, dtype: str = "int32") -> tvm.tirx.Buffer:
            return T.arg(name, T.buffer((conv.out_channels,), dtype))

        self._per_channel = [per_channel("multiplier"), per_channel("shift")]
        self._per_channel.append(per_channel("half", "int64"))
        if self._residual_zero_point is not None:
            self._residual = Residual(conv, self._residual_planes)
            self._per_channel.append(per_channel("residual_multiplier"))

    def prepare(self, groups: int, channels: int) -> None:
        """Make the values per channel readable in whole vectors of a group's `channels`."""
        if self._is_raw:
            return
        # where there is no channel any shift will do but one that is not allowed
        fill = _WORD if self._words else 1
        self._padded = [padded(values, groups, channels, fill) for values in self._per_channel]
        if self._residual_zero_point is not None:
            self._residual.prepare()

    def reads(self) -> list[tvm.tirx.Buffer]:
        if self._residual_zero_point is None or self._residual_planes:
            return []
        return [self._residual.data]

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr, out: tvm.tirx.Buffer) -> Finish:
        """Read the values of a block; what it returns requantizes the block's vectors."""
        if self._is_raw:
            return lambda accumulator, lanes, pixel, channel: lanes.store(
                out, T.Bind(pixel * self._channels + channel), accumulator
            )
        multiplier, shift, half, *residual = (
            T.Bind(load(values, group * stride + block * LANES, LANES))
            for values, stride in self._padded
        )
        shifted = self._by_words if self._words else self._by_all_bits
        shifted = shifted(multiplier, shift, half, *residual)

        def rescale(
            accumulator: tvm.ir.Expr, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr
        ) -> None:
            other = None
            if residual:
                other = T.Cast(f"int32x{LANES}", self._residual.load(lanes, pixel, channel))
            value = shifted(accumulator, other)
            dtype = value.ty.dtype.with_lanes(1)
            value = value + _lanes(self._output_zero_point, dtype)
            value = T.max(T.min(value, _lanes(self._clip[1], dtype)), _lanes(self._clip[0], dtype))
            value = T.Cast(f"uint8x{LANES}", value)
            if self._output_planes:
                value = T.Bind(value)
                bits = [bits_of(value, plane) for plane in range(self._output_planes)]
                self._store.write(out, pixel, channel, bits)
            else:
                lanes.store(out, T.Bind(pixel * self._channels + channel), value)

        return rescale

    def _by_all_bits(
        self,
        multiplier: tvm.ir.Expr,
        shift: tvm.ir.Expr,
        half: tvm.ir.Expr,
        residual_multiplier: tvm.ir.Expr | None = None,
    ) -> Callable[[tvm.ir.Expr, tvm.ir.Expr | None], tvm.ir.Expr]:
        """What makes int64x16 before the zero point is added of int32x16."""
        wide = f"int64x{LANES}"
        by, shift = T.Bind(T.Cast(wide, multiplier)), T.Bind(T.Cast(wide, shift))
        if residual_multiplier is not None:
            by_other = T.Bind(T.Cast(wide, residual_multiplier))
            half = T.Bind(half - by_other * _lanes(self._residual_zero_point, "int64"))

        def shifted(accumulator: tvm.ir.Expr, other: tvm.ir.Expr | None) -> tvm.ir.Expr:
            value = T.Cast(wide, accumulator) * by + half
            if other is not None:
                value = value + T.Cast(wide, other) * by_other
            return value >> shift

        return shifted

    def _by_words(
        self,
        multiplier: tvm.ir.Expr,
        shift: tvm.ir.Expr,
        half: tvm.ir.Expr,
        residual_multiplier: tvm.ir.Expr | None = None,
    ) -> Callable[[tvm.ir.Expr, tvm.ir.Expr | None], tvm.ir.Expr]:
        """The same that makes int32x16."""
        by = _even_and_odd(multiplier)
        rest = T.Bind(shift - _lanes(_WORD, "int32"))
        halves = [T.Bind(T.Shuffle([half], list(range(odd, LANES, 2)))) for odd in range(2)]
        if residual_multiplier is not None:
            by_other = _unsigned_even_and_odd(residual_multiplier)

        def shifted(accumulator: tvm.ir.Expr, other: tvm.ir.Expr | None) -> tvm.ir.Expr:
            values = [
                x * m + h for x, m, h in zip(_even_and_odd(accumulator), by, halves, strict=True)
            ]
            if other is not None:
                other = T.Bind(other)
                values = [
                    value + T.reinterpret(f"int64x{LANES // 2}", x * m)
                    for value, x, m in zip(
                        values, _unsigned_even_and_odd(other), by_other, strict=True
                    )
                ]
            words = [T.reinterpret(f"int32x{LANES}", value) for value in values]
            upper = [lane + 1 - lane % 2 + lane % 2 * LANES for lane in range(LANES)]
            value = T.Shuffle(words, upper)
            if other is not None and self._words.whole:
                value = value + other * _lanes(self._words.whole, "int32")
            return value >> rest if self._words.shifts else value

        return shifted


class Residual:
    """A second input of the output's shape, bytes or planes."""

    def __init__(self, conv: Conv2D, planes: int) -> None:
        """Declare the argument."""
        self._channels = conv.out_channels
        self._planes = planes
        self._store = PlaneStore(conv, planes)
        shape, dtype = conv.output_shape, "uint8"
        if planes:
            shape, dtype = self._store.shape, "uint16"
        self.data = T.arg("residual", T.buffer(shape, dtype))

    def prepare(self) -> None:
        """Make it readable in vectors."""
        self.data = flat(self.data)

    def load(self, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr) -> tvm.ir.Expr:
        """The integers of 16 channels; undefined where there is no channel."""
        if not self._planes:
            return lanes.load(self.data, T.Bind(pixel * self._channels + channel))
        zero = T.broadcast(T.int32(0), LANES)
        total = zero
        for plane, is_set in enumerate(self.planes(pixel, channel)):
            total = total | T.Select(is_set, T.broadcast(T.int32(2**plane), LANES), zero)
        return total

    def planes(self, pixel: tvm.ir.Expr, channel: tvm.ir.Expr) -> list[tvm.ir.Expr]:
        """Of each plane, where its bits are set, where the residual is of planes."""
        return self._store.read(self.data, pixel, channel)


def _even_and_odd(vector: tvm.ir.Expr) -> list[tvm.ir.Expr]:
    """Two int64x8 of the even and the odd lanes of int32x16."""
    pairs = T.Bind(T.reinterpret(f"int64x{LANES // 2}", vector))
    word = T.broadcast(T.int64(32), LANES // 2)
    return [T.Bind((pairs << word) >> word), T.Bind(pairs >> word)]


def _unsigned_even_and_odd(vector: tvm.ir.Expr) -> list[tvm.ir.Expr]:
    """Two uint64x8 of the even and the odd lanes of uint32x16, whatever the type says."""
    pairs = T.Bind(T.reinterpret(f"uint64x{LANES // 2}", vector))
    low = T.broadcast(T.uint64(2**_WORD - 1), LANES // 2)
    return [T.Bind(pairs & low), T.Bind(pairs >> T.broadcast(T.uint64(_WORD), LANES // 2))]


def _lanes(value: int, dtype: str) -> tvm.ir.Expr:
    return T.broadcast(tvm.tirx.const(value, dtype), LANES)
