"""Weights in the order in which the kernels read them.

Sixteen output channels (the lanes of a 512-bit vector) lie side by side; of integers, four input
channels of each, which is what one 4-byte dot product takes, of bfloat16 two.
"""

import numpy as np

LANES = 16
QUAD = 4  # bytes of a dot product
PAIR = 2  # bfloat16 of one


def container_bits(bits: int) -> int:
    """The bits in which a weight of `bits` bits is stored: 1, 2, 4 or 8.

    Raises:
        ValueError: `bits` is not within 1..8.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"weights have 1 to 8 bits, not {bits}")
    return next(c for c in (1, 2, 4, 8) if c >= bits)


def midrise_offset(bits: int) -> int | None:
    """The `m` of w = 2n − m, or None where the stored bytes are the values themselves."""
    return 2**bits - 1 if bits <= 4 else None


def packed_float_shape(shape: tuple[int, int, int, int], groups: int) -> tuple[int, ...]:
    """The shape of `pack_float` of a weight of shape (O,KH,KW,C/groups)."""
    outputs, height, width, inputs = shape
    if _depthwise(shape, groups):
        return (_blocks(outputs), height * width, LANES)
    return (groups, _blocks(outputs // groups), height * width * inputs, LANES)


def packed_integer_shape(
    shape: tuple[int, int, int, int], bits: int, groups: int
) -> tuple[int, ...]:
    """The shape of `pack_integer` of a weight of shape (O,KH,KW,C/groups)."""
    outputs, height, width, inputs = shape
    per = 8 // container_bits(bits)
    if _depthwise(shape, groups):
        return (_blocks(outputs), -(-height * width // per), LANES)
    steps = height * width * -(-inputs // QUAD)
    return (groups, _blocks(outputs // groups), -(-steps // per), LANES, QUAD)


def packed_bfloat16_shape(shape: tuple[int, int, int, int], groups: int) -> tuple[int, ...]:
    """The shape of `pack_bfloat16` of a weight of shape (O,KH,KW,C/groups)."""
    outputs, height, width, inputs = shape
    return (groups, _blocks(outputs // groups), height * width * -(-inputs // PAIR), LANES, PAIR)


def pack_float(weight: np.ndarray, groups: int) -> np.ndarray:
    """Pack float32 weights.

    Args:
        weight: (O,KH,KW,C/groups).
        groups: the groups of the convolution.

    Returns:
        float32 of (groups, ceil(O/groups/16), KH·KW·C/groups, 16), zero in lanes without a
        channel; of a depthwise convolution (ceil(C/16), KH·KW, 16).
    """
    outputs, height, width, inputs = weight.shape
    reduction = height * width * inputs
    if _depthwise(weight.shape, groups):
        rows = weight.reshape(1, outputs, reduction)
    else:
        rows = weight.reshape(groups, outputs // groups, reduction)
    packed = lanes_last(rows.astype(np.float32, copy=False))
    return packed.reshape(packed_float_shape(weight.shape, groups))


def pack_bfloat16(weight: np.ndarray, groups: int) -> np.ndarray:
    """Pack bfloat16 weights.

    Args:
        weight: (O,KH,KW,C/groups).
        groups: the groups of the convolution, which is not depthwise.

    Returns:
        bfloat16 of (groups, ceil(O/groups/16), KH·KW·ceil(C/groups/2), 16, 2), zero where there is
        no weight.
    """
    outputs, height, width, inputs = weight.shape
    pairs = -(-inputs // PAIR)
    codes = np.pad(weight.view(np.uint16), [(0, 0)] * 3 + [(0, pairs * PAIR - inputs)])
    # a pair moves as one 4-byte item
    items = codes.view("<u4").reshape(groups, outputs // groups, height * width * pairs)
    packed = lanes_last(items).view(weight.dtype)
    return packed.reshape(packed_bfloat16_shape(weight.shape, groups))


def pack_integer(weight: np.ndarray, bits: int, groups: int) -> np.ndarray:
    """Pack integer weights, several of fewer than 5 bits to a byte.

    Args:
        weight: int8 values of (O,KH,KW,C/groups): of 1 to 4 bits the odd numbers within
            ±(2^bits − 1), of 5 to 8 bits within ±(2^(bits−1) − 1).
        bits: the bits of a weight.
        groups: the groups of the convolution.

    Returns:
        uint8 of (groups, ceil(O/groups/16), ceil(K4/per), 16, 4) with K4 = KH·KW·ceil(C/groups/4)
        and `per` weights to a byte, the first in the lowest bits; of a depthwise convolution
        (ceil(C/16), ceil(KH·KW/per), 16). What stands for no weight is 0.
    """
    outputs, height, width, inputs = weight.shape
    offset = midrise_offset(bits)
    if offset is None:
        codes = weight.astype(np.int8, copy=False).view(np.uint8)
    else:
        codes = ((weight.astype(np.int8, copy=False) + np.int8(offset)) >> 1).view(np.uint8)
    if _depthwise(weight.shape, groups):
        steps = lanes_last(codes.reshape(1, outputs, height * width))
    else:
        quads = -(-inputs // QUAD)
        codes = np.pad(codes, [(0, 0)] * 3 + [(0, quads * QUAD - inputs)])
        # a quad moves as one 4-byte item
        items = codes.view("<u4").reshape(groups, outputs // groups, height * width * quads)
        steps = lanes_last(items).view(np.uint8)
    container = container_bits(bits)
    per = 8 // container
    count = steps.shape[2]
    steps = np.pad(steps, [(0, 0), (0, 0), (0, -count % per), (0, 0)])
    packed = steps[:, :, 0::per]
    for place in range(1, per):
        packed = packed | steps[:, :, place::per] << np.uint8(container * place)
    return np.ascontiguousarray(packed).reshape(packed_integer_shape(weight.shape, bits, groups))


def unpack_integer(
    packed: np.ndarray, shape: tuple[int, int, int, int], bits: int, groups: int
) -> np.ndarray:
    """The int8 weights of shape (O,KH,KW,C/groups) that `pack_integer` packed."""
    outputs, height, width, inputs = shape
    container = container_bits(bits)
    mask = np.uint8(2**container - 1)
    last = () if _depthwise(shape, groups) else (QUAD,)
    steps = packed.reshape(groups if last else 1, -1, *packed.shape[-2 - len(last) :])
    codes = np.stack(
        [steps >> np.uint8(place * container) & mask for place in range(8 // container)], axis=3
    ).reshape(*steps.shape[:2], -1, LANES, *last)
    rows = np.moveaxis(codes, 3, 2)  # (G, blocks, 16, steps[, 4])
    quads = -(-inputs // QUAD)
    taps = height * width
    if last:
        rows = rows[:, :, :, : taps * quads].reshape(groups, -1, height, width, quads * QUAD)
    else:
        rows = rows[:, :, :, :taps].reshape(1, -1, height, width, 1)
    per_group = outputs // rows.shape[0]
    codes = rows[:, :per_group, :, :, :inputs].reshape(shape)
    offset = midrise_offset(bits)
    if offset is None:
        return np.ascontiguousarray(codes).view(np.int8)
    return (2 * codes.astype(np.int16) - offset).astype(np.int8)


def _blocks(channels: int) -> int:
    return -(-channels // LANES)


def _depthwise(shape: tuple[int, int, int, int], groups: int) -> bool:
    return shape[0] == groups and shape[3] == 1


def lanes_last(rows: np.ndarray) -> np.ndarray:
    """(G, channels, steps) -> (G, blocks, steps, 16), zero where there is no channel."""
    groups, channels, steps = rows.shape
    blocks = _blocks(channels)
    rows = np.pad(rows, [(0, 0), (0, blocks * LANES - channels), (0, 0)])
    return np.ascontiguousarray(rows.reshape(groups, blocks, LANES, steps).swapaxes(2, 3))
