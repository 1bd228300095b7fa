"""From float32 accumulators to an output: out = clip(acc + residual, least, greatest)."""

import math

import tvm
from tvm.tirx.script import builder as T

from .accumulators import Finish
from .geometry import Conv2D
from .lanes import Lanes
from .packing import LANES
from .staging import flat


class FloatOutput:
    """Emits the end of a float kernel, in the order of its methods.

    An infinite bound is none. What is written as bfloat16 is rounded to nearest, ties to even.
    """

    is_dense = False

    def __init__(self, residual: bool, clip: tuple[float, float], dtype: str = "float32") -> None:
        self.dtype = dtype
        self._has_residual = residual
        self._clip = clip

    def shape(self, conv: Conv2D) -> tuple[int, ...]:
        return conv.output_shape

    def declare(self, conv: Conv2D) -> None:
        """Declare the arguments [residual]."""
        self._channels = conv.out_channels
        if self._has_residual:
            self._residual = T.arg("residual", T.buffer(conv.output_shape, "float32"))

    def prepare(self, groups: int, channels: int) -> None:
        """Make the residual readable in vectors."""
        if self._has_residual:
            self._residual = flat(self._residual)

    def channels(self, group: tvm.ir.Expr, block: tvm.ir.Expr, out: tvm.tirx.Buffer) -> Finish:
        """What finishes the vectors of a block."""
        least, greatest = self._clip

        def finish(
            value: tvm.ir.Expr, lanes: Lanes, pixel: tvm.ir.Expr, channel: tvm.ir.Expr
        ) -> None:
            at = T.Bind(pixel * self._channels + channel)
            if self._has_residual:
                value = value + lanes.load(self._residual, at)
            if not math.isinf(greatest):
                value = T.min(value, T.broadcast(T.float32(greatest), LANES))
            if not math.isinf(least):
                value = T.max(value, T.broadcast(T.float32(least), LANES))
            if self.dtype != "float32":
                value = T.Cast(f"{self.dtype}x{LANES}", value)
            lanes.store(out, at, value)

        return finish
