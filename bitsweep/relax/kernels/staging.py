"""The input of a convolution, as a flat buffer that every window lies in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm
from tvm.tirx.script import builder as T

from .geometry import Conv2D
from .packing import LANES
from .tiling import Place


@dataclass(frozen=True)
class Beside:
    """Other work, to be emitted between the steps over a window.

    Attributes:
        count: its parts.
        start: emits what comes before them, and returns what emits the part of a number.
    """

    count: int
    start: Callable[[], Callable[[tvm.ir.Expr], None]]

    def alone(self) -> None:
        """Emit it beside nothing."""
        part = self.start()
        with T.serial(0, self.count) as number:
            part(number)


@dataclass(frozen=True)
class Staged:
    """A flat buffer, and the elements between its images, rows, pixels and groups."""

    data: tvm.tirx.Buffer
    image: int
    row: int
    pixel: int
    group: int

    def start(self, conv: Conv2D, place: Place) -> tvm.ir.Expr:
        """The first element of the first window of a tile.

        Of a depthwise convolution the blocks are of input channels as well.
        """
        block = place.block * LANES if conv.depthwise else place.group * self.group
        return T.Bind(place.image * self.image + self.window(conv, place.row, place.column) + block)

    def window(
        self, conv: Conv2D, row: tvm.ir.Expr | int, column: tvm.ir.Expr | int
    ) -> tvm.ir.Expr | int:
        """From the window of the first output pixel to the one of another."""
        return row * (conv.strides[0] * self.row) + column * (conv.strides[1] * self.pixel)

    def walk(
        self,
        conv: Conv2D,
        width: int,
        count: int,
        step: Callable[[tvm.ir.Expr, tvm.ir.Expr], None],
        beside: Sequence[Beside] = (),
    ) -> None:
        """Emit the loops over the elements of a window, in the order of packed weights.

        Args:
            conv: the convolution.
            width: the elements of a step.
            count: the steps of a tap.
            step: emits one, from its offset in the window and its number.
            beside: what is done in the first steps, where the window is one tap.
        """
        down, across = conv.kernel
        row, column = conv.dilation[0] * self.row, conv.dilation[1] * self.pixel
        done = 0
        for left, work in zip(range(len(beside), 0, -1), beside, strict=True):
            steps = min(work.count, (count - done) // left)
            if not steps:
                work.alone()
                continue
            part, each = work.start(), -(-work.count // steps)
            with T.serial(0, steps) as k:
                step((k + done) * width, k + done)
                for number in range(each):  # the last part again, where they do not fill a step
                    part(T.Bind(T.min(k * each + number, work.count - 1)))
            done += steps
        if beside:
            with T.serial(0, count - done) as k:
                step((k + done) * width, k + done)
        elif column == width * count:  # the taps of a row lie side by side
            with T.serial(0, down) as r, T.serial(0, across * count) as k:
                step(r * row + k * width, r * (across * count) + k)
        else:
            with T.serial(0, down) as r, T.serial(0, across) as c, T.serial(0, count) as k:
                step(r * row + c * column + k * width, (r * across + c) * count + k)


def flat(buffer: tvm.tirx.Buffer) -> tvm.tirx.Buffer:
    """The elements of a buffer as a vector."""
    size = 1
    for extent in buffer.shape:
        size *= int(extent)
    return T.decl_buffer((size,), buffer.dtype, data=buffer.data)


def stage(
    x: tvm.tirx.Buffer,
    conv: Conv2D,
    *,
    multiple: int,
    spare: int = 0,
    padding_value: int | Callable[[tvm.ir.Expr, tvm.ir.Expr], tvm.ir.Expr],
    dtype: str | None = None,
    convert: Callable[[tvm.ir.Expr], tvm.ir.Expr] | None = None,
    in_place: bool = True,
) -> Staged:
    """Emit what it takes to read windows of `x` without a test of their bounds.

    The input is read where it is, or copied with its padding, in parallel over the rows, over the
    pixels where there is no padding.

    Args:
        x: (N,H,W,C).
        conv: the convolution.
        multiple: to a multiple of how many the channels of a group are rounded up, with zeros;
            those of all groups together where the convolution is depthwise.
        spare: how many elements beyond the last may be read; they are 0.
        padding_value: what pads the image; or a function of the number of the image and of the
            element of its pixel.
        dtype: the type of an element of the copy, by default of `x`.
        convert: what makes one of an element of `x`.
        in_place: whether `x` may be read where it is.
    """
    groups, channels = conv.groups, conv.inputs_per_group
    if conv.depthwise:
        groups, channels = 1, conv.in_channels
    rounded = -(-channels // multiple) * multiple
    pixel = groups * rounded
    row = conv.padded_width * pixel
    source = flat(x)
    if in_place and rounded == channels and not any(conv.padding) and not spare:
        return Staged(source, conv.height * row, row, pixel, rounded)
    dtype = dtype or x.dtype
    elements = conv.batch * conv.padded_height * row
    data = T.alloc_buffer((elements + spare,), dtype)
    for place in range(spare):
        T.buffer_store(data, T.Cast(dtype, 0), [elements + place])
    staged = Staged(data, conv.padded_height * row, row, pixel, rounded)
    top, left, _, right = conv.padding

    def write(
        image: tvm.ir.Expr | None, start: tvm.ir.Expr, pixels: int, origin: tvm.ir.Expr | None
    ) -> None:
        """Pixels of the copy from `start` on: those of `x` from `origin` on, or padding."""
        shape = (pixels, groups, channels)
        if rounded == channels:  # one run of elements
            shape = (1, 1, pixels * groups * channels)
        with T.serial(0, shape[0]) as p, T.serial(0, shape[1]) as g:
            item = p * shape[1] + g
            with T.serial(0, shape[2]) as c:
                if origin is not None:
                    value = source[origin + item * shape[2] + c]
                    value = convert(value) if convert else value
                elif callable(padding_value):
                    value = padding_value(image, (item * shape[2] + c) % (groups * channels))
                else:
                    value = T.Cast(dtype, padding_value)
                T.buffer_store(data, value, [start + item * (shape[2] + rounded - channels) + c])
            if rounded != channels:
                with T.serial(0, rounded - channels) as c:
                    at = start + item * rounded + channels + c
                    T.buffer_store(data, T.Cast(dtype, 0), [at])

    if not any(conv.padding):
        with T.parallel(0, conv.batch * conv.height * conv.width) as p:
            write(None, T.Bind(p * pixel), 1, T.Bind(p * conv.in_channels))
        return staged
    with T.parallel(0, conv.batch * conv.padded_height) as r:
        y = T.Bind(r % conv.padded_height - top)
        image = T.Bind(r // conv.padded_height)
        start = T.Bind(r * row)
        with T.If(T.And(y >= 0, y < conv.height)):
            with T.Then():
                origin = (image * conv.height + y) * (conv.width * conv.in_channels)
                if left:
                    write(image, start, left, None)
                write(image, start + left * pixel, conv.width, T.Bind(origin))
                if right:
                    write(image, start + (left + conv.width) * pixel, right, None)
            with T.Else():
                write(image, start, conv.padded_width, None)
    return staged
