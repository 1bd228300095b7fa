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
from .staging import flat


class Requantization:
    """Emits the requantization of a kernel, in the order of its methods.

    Raises:
        ValueError: the output is neither uint8 nor int32, the bounds are no bytes in order, or
            int32 output has a residual.
    """

    def __init__(
        self,
        out_dtype: str,
        residual_zero_point: int | None,
        output_zero_point: int,
        clip: tuple[int, int],
    ) -> None:
        if out_dtype not in ("uint8", "int32"):
            raise ValueError(f"output is uint8 or int32, not {out_dtype}")
        self.out_dtype = out_dtype
        self._is_raw = out_dtype == "int32"
        if self._is_raw and residual_zero_point is not None:
            raise ValueError("int32 output has no residual")
        if not self._is_raw and not 0 <= clip[0] <= clip[1] <= 255:
            raise ValueError(f"{clip} are no bounds of uint8 output")
        self._residual_zero_point = residual_zero_point
        self._output_zero_point = output_zero_point
        self._clip = clip

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments [multiplier, shift, half, [residual, residual_multiplier]]."""
        if self._is_raw:
            return

        def per_channel(name: str, dtype: str = "int32") -> tvm.tirx.Buffer:
            return T.arg(name, T.buffer((conv.out_channels,), dtype))

        self._per_channel = [per_channel("multiplier"), per_channel("shift")]
        self._per_channel.append(per_channel("half", "int64"))
        if self._residual_zero_point is not None:
            self._residual = T.arg("residual", T.buffer(conv.output_shape, "uint8"))
            self._per_channel.append(per_channel("residual_multiplier"))

    def prepare(self, groups: int, channels: int) -> None:
        """Make the values per channel readable in whole vectors of a group's `channels`."""
        if self._is_raw:
            return
        # where there is no channel any shift will do but one below 1
        self._padded = [padded(values, groups, channels, 1) for values in self._per_channel]
        if self._residual_zero_point is not None:
            self._residual = flat(self._residual)

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr) -> Finish:
        """Read the values of a block; what it returns requantizes the block's vectors."""
        if self._is_raw:
            return lambda accumulator, lanes, at: accumulator
        wide = f"int64x{LANES}"
        multiplier, shift, half, *residual = (
            T.Bind(T.Cast(wide, load(values, group * stride + block * LANES, LANES)))
            for values, stride in self._padded
        )

        def rescale(accumulator: tvm.ir.Expr, lanes: Lanes, at: tvm.ir.Expr) -> tvm.ir.Expr:
            value = T.Cast(wide, accumulator) * multiplier + half
            if residual:
                other = T.Cast(wide, lanes.load(self._residual, at))
                value = value + (other - _lanes(self._residual_zero_point)) * residual[0]
            value = (value >> shift) + _lanes(self._output_zero_point)
            value = T.max(T.min(value, _lanes(self._clip[1])), _lanes(self._clip[0]))
            return T.Cast(f"uint8x{LANES}", value)

        return rescale


def _lanes(value: int) -> tvm.ir.Expr:
    return T.broadcast(T.int64(value), LANES)
