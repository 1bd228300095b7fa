"""From int32 accumulators to the integers of an output.

out = clip(((acc·M + (residual − zero)·Mr + half) >> shift) + output zero, least, greatest)

in 64 bits, with an arithmetic shift; M, Mr, shift and half per output channel. A half of
2^(shift−1) rounds to nearest, ties up; it may hold a fraction of the accumulator's unit as well.

Where all shifts are 33 or more, what comes after the additions needs only the upper words of the 64
bits: floor(x / 2^shift) = floor(floor(x / 2^32) / 2^(shift−32)), which has room for the zero point.
"""

from collections.abc import Callable

import tvm
from tvm.tirx.script import builder as T

from .accumulators import Finish
from .geometry import Conv2D
from .lanes import Lanes, load, padded
from .packing import LANES
from .planes import PlaneStore, bits_of
from .staging import flat

_LEAST_SHIFT_OF_WORDS = 33


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
        least_shift: int = 1,
    ) -> None:
        """Take what `conv2d_integer.kernel` does.

        `residual_planes` is the number of planes of a residual, and `output_planes` that of the
        output, 0 where they are bytes. No shift will be less than `least_shift`.
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
        self._output_zero_point = output_zero_point
        self._clip = clip
        self._by_words = least_shift >= _LEAST_SHIFT_OF_WORDS

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
        fill = _LEAST_SHIFT_OF_WORDS if self._by_words else 1
        self._padded = [padded(values, groups, channels, fill) for values in self._per_channel]
        if self._residual_zero_point is not None:
            self._residual.prepare()

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
        shifted = self._words if self._by_words else self._whole
        shifted = shifted(multiplier, shift, half, *residual)

        def rescale(
            accumulator: tvm.ir.Expr, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr
        ) -> None:
            other = None
            if residual:
                other = T.Cast(f"int32x{LANES}", self._residual.load(lanes, pixel, channel))
                other = other - _lanes(self._residual_zero_point, "int32")
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

    @staticmethod
    def _whole(
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

        def shifted(accumulator: tvm.ir.Expr, other: tvm.ir.Expr | None) -> tvm.ir.Expr:
            value = T.Cast(wide, accumulator) * by + half
            if other is not None:
                value = value + T.Cast(wide, other) * by_other
            return value >> shift

        return shifted

    @staticmethod
    def _words(
        multiplier: tvm.ir.Expr,
        shift: tvm.ir.Expr,
        half: tvm.ir.Expr,
        residual_multiplier: tvm.ir.Expr | None = None,
    ) -> Callable[[tvm.ir.Expr, tvm.ir.Expr | None], tvm.ir.Expr]:
        """The same that makes int32x16."""
        by = _even_and_odd(multiplier)
        rest = T.Bind(shift - _lanes(32, "int32"))
        halves = [T.Bind(T.Shuffle([half], list(range(odd, LANES, 2)))) for odd in range(2)]
        if residual_multiplier is not None:
            by_other = _even_and_odd(residual_multiplier)

        def shifted(accumulator: tvm.ir.Expr, other: tvm.ir.Expr | None) -> tvm.ir.Expr:
            values = [
                x * m + h for x, m, h in zip(_even_and_odd(accumulator), by, halves, strict=True)
            ]
            if other is not None:
                values = [
                    value + x * m
                    for value, x, m in zip(values, _even_and_odd(other), by_other, strict=True)
                ]
            words = [T.reinterpret(f"int32x{LANES}", value) for value in values]
            upper = [lane + 1 - lane % 2 + lane % 2 * LANES for lane in range(LANES)]
            return T.Shuffle(words, upper) >> rest

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
        self._data = T.arg("residual", T.buffer(shape, dtype))

    def prepare(self) -> None:
        """Make it readable in vectors."""
        self._data = flat(self._data)

    def load(self, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr) -> tvm.ir.Expr:
        """The integers of 16 channels; undefined where there is no channel."""
        if not self._planes:
            return lanes.load(self._data, T.Bind(pixel * self._channels + channel))
        zero = T.broadcast(T.int32(0), LANES)
        total = zero
        for plane, is_set in enumerate(self.planes(pixel, channel)):
            total = total | T.Select(is_set, T.broadcast(T.int32(2**plane), LANES), zero)
        return total

    def planes(self, pixel: tvm.ir.Expr, channel: tvm.ir.Expr) -> list[tvm.ir.Expr]:
        """Of each plane, where its bits are set, where the residual is of planes."""
        return self._store.read(self._data, pixel, channel)


def _even_and_odd(vector: tvm.ir.Expr) -> list[tvm.ir.Expr]:
    """Two int64x8 of the even and the odd lanes of int32x16."""
    pairs = T.Bind(T.reinterpret(f"int64x{LANES // 2}", vector))
    word = T.broadcast(T.int64(32), LANES // 2)
    return [T.Bind((pairs << word) >> word), T.Bind(pairs >> word)]


def _lanes(value: int, dtype: str) -> tvm.ir.Expr:
    return T.broadcast(tvm.tirx.const(value, dtype), LANES)
