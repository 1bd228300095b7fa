"""The shapes of 2-D convolutions and of self-attention."""

from dataclasses import dataclass, replace

from .packing import LANES, QUAD, midrise_offset


@dataclass(frozen=True)
class Conv2D:
    """A convolution of (N,H,W,C) by (O,KH,KW,C/groups).

    Pairs are (vertical, horizontal); the padding is (top, left, bottom, right), in pixels.

    Raises:
        ValueError: the groups do not divide the channels, or the output has no pixel.
    """

    batch: int
    height: int
    width: int
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{self.groups} groups do not divide {self.in_channels} input "
                f"and {self.out_channels} output channels"
            )
        if self.out_height < 1 or self.out_width < 1:
            raise ValueError(f"the window is larger than the padded image: {self}")

    @property
    def padded_height(self) -> int:
        return self.padding[0] + self.height + self.padding[2]

    @property
    def padded_width(self) -> int:
        return self.padding[1] + self.width + self.padding[3]

    @property
    def out_height(self) -> int:
        return (self.padded_height - self.dilation[0] * (self.kernel[0] - 1) - 1) // self.strides[
            0
        ] + 1

    @property
    def out_width(self) -> int:
        return (self.padded_width - self.dilation[1] * (self.kernel[1] - 1) - 1) // self.strides[
            1
        ] + 1

    @property
    def inputs_per_group(self) -> int:
        return self.in_channels // self.groups

    @property
    def outputs_per_group(self) -> int:
        return self.out_channels // self.groups

    @property
    def depthwise(self) -> bool:
        """Whether every output channel reads one input channel, and no two the same."""
        return self.inputs_per_group == 1 and self.outputs_per_group == 1

    @property
    def taps(self) -> int:
        """The positions of the window."""
        return self.kernel[0] * self.kernel[1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates, those that read padding included."""
        pixels = self.batch * self.out_height * self.out_width
        return pixels * self.out_channels * self.taps * self.inputs_per_group

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.height, self.width, self.in_channels)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return (self.out_channels, *self.kernel, self.inputs_per_group)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (self.batch, self.out_height, self.out_width, self.out_channels)

    def joined(self, weight_bits: int, step: int = QUAD) -> "Conv2D":
        """The same products, a row of taps as the channels of one, where that takes fewer steps.

        A step is of so many input channels. The windows lie as they do here: the kernel and the
        channels alone are another's. What a row lacks to whole steps is multiplied by zero, which
        weights of 1 to 4 bits do not have.
        """
        elements = self.kernel[1] * self.in_channels
        steps = -(-elements // step)
        if (
            (self.groups > 1 or self.depthwise or self.dilation[1] > 1)
            or steps == self.kernel[1] * -(-self.in_channels // step)
            or (elements % step and midrise_offset(weight_bits) is not None)
        ):
            return self
        return replace(self, kernel=(self.kernel[0], 1), in_channels=elements)

    def flattened(self) -> "Conv2D":
        """The same computation on one row, where each output pixel reads its own input pixel."""
        if self.kernel != (1, 1) or self.strides != (1, 1) or any(self.padding):
            return self
        pixels = self.batch * self.height * self.width
        return replace(self, batch=1, height=1, width=pixels, dilation=(1, 1))


@dataclass(frozen=True)
class Attention:
    """Self-attention of `windows` × `heads`, each over `tokens` of `size` elements.

    `channels` are a token's in the input, where query, key and value of head h start at the three
    `offsets` + h · `size`. There are `kinds` of biases, 0 for none.

    Raises:
        ValueError: a head's elements are no whole vectors.
    """

    windows: int
    tokens: int
    heads: int
    size: int
    channels: int
    offsets: tuple[int, int, int]
    kinds: int = 0

    def __post_init__(self) -> None:
        if self.size % LANES:
            raise ValueError(f"a head of {self.size} elements, no multiple of {LANES}")

    @property
    def blocks(self) -> int:
        """Vectors of keys."""
        return -(-self.tokens // LANES)

    @property
    def pairs(self) -> int:
        """Windows times heads."""
        return self.windows * self.heads

    @property
    def macs(self) -> int:
        """Multiply-accumulates of both products."""
        return 2 * self.pairs * self.tokens**2 * self.size

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return (1, 1, self.windows * self.tokens, self.channels)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return (1, 1, self.windows * self.tokens, self.heads * self.size)
