"""From int32 accumulators to the integers of an output.

out = clip(((acc·M + (residual − zero)·Mr + half) >> shift) + output zero, least, greatest)

in 64 bits, with an arithmetic shift; M, Mr, shift and half per output channel. A half of
2^(shift−1) rounds to nearest, ties up; it may hold a fraction of the accumulator's unit as well.
"""

import tvm
from tvm.tirx.script import builder as T

from .accumulators import Finish
from .geometry import Conv2D
from .lanes import Lanes, load, padded
from .packing import LANES
from .planes import PlaneStore, bits_of
from .staging import flat


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
    ) -> None:
        """Take what `conv2d_integer.kernel` does.

        `residual_planes` is the number of planes of a residual, and `output_planes` that of the
        output, 0 where they are bytes.
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
        # where there is no channel any shift will do but one below 1
        self._padded = [padded(values, groups, channels, 1) for values in self._per_channel]
        if self._residual_zero_point is not None:
            self._residual.prepare()

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr, out: tvm.tirx.Buffer) -> Finish:
        """Read the values of a block; what it returns requantizes the block's vectors."""
        if self._is_raw:
            return lambda accumulator, lanes, pixel, channel: lanes.store(
                out, T.Bind(pixel * self._channels + channel), accumulator
            )
        wide = f"int64x{LANES}"
        multiplier, shift, half, *residual = (
            T.Bind(T.Cast(wide, load(values, group * stride + block * LANES, LANES)))
            for values, stride in self._padded
        )

        def rescale(
            accumulator: tvm.ir.Expr, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr
        ) -> None:
            value = T.Cast(wide, accumulator) * multiplier + half
            if residual:
                other = T.Cast(wide, self._residual.load(lanes, pixel, channel))
                value = value + (other - _lanes(self._residual_zero_point)) * residual[0]
            value = (value >> shift) + _lanes(self._output_zero_point)
            value = T.max(T.min(value, _lanes(self._clip[1])), _lanes(self._clip[0]))
            value = T.Cast(f"uint8x{LANES}", value)
            if self._output_planes:
                value = T.Bind(value)
                bits = [bits_of(value, plane) for plane in range(self._output_planes)]
                self._store.write(out, pixel, channel, bits)
            else:
                lanes.store(out, T.Bind(pixel * self._channels + channel), value)

        return rescale


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


def _lanes(value: int) -> tvm.ir.Expr:
    return T.broadcast(T.int64(value), LANES)
