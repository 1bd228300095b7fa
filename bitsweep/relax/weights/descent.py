"""Descent on a layer's output error over single integers and scales."""

import numpy as np

from bitsweep.relax import grid

_BLOCK = 64


def descend(
    target: np.ndarray,
    integers: np.ndarray,
    scale: np.ndarray,
    hessian: np.ndarray,
    bits: int,
    *,
    sweeps: int = 8,
    refit: bool = True,
    per_channel: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return integers (…, O, K) and scales (…, O) of no larger output error than those given.

    The error of an output is e·H·eᵀ with e = `target` (…, O, K) − `scale` (…, O) · `integers`
    (…, O, K) and H = `hessian` (…, K, K); leading axes are groups, and all floats are of one dtype.
    A sweep moves each integer in turn to the level that is best with all others held, and then
    refits the scales (one for all outputs unless `per_channel`) if `refit`. It ends early when no
    integer moves. A channel of scale 0 stays as it is.
    """
    dtype = target.dtype
    scale = np.array(scale, dtype=dtype)
    codes = np.ascontiguousarray(np.swapaxes(integers, -1, -2).astype(dtype))
    answered = hessian @ (codes * scale[..., None, :])
    gradient = hessian @ (np.swapaxes(target, -1, -2) - codes * scale[..., None, :])
    wanted = gradient + answered
    for _ in range(sweeps):
        moved = _sweep(gradient, codes, scale, hessian, bits)
        if refit:
            answered = wanted - gradient
            factor = _factor(wanted, answered, codes, scale, per_channel)
            scale = scale * factor
            gradient = wanted - answered * factor[..., None, :]
        if not moved:
            break
    return np.swapaxes(codes, -1, -2), scale


def _sweep(
    gradient: np.ndarray, codes: np.ndarray, scale: np.ndarray, hessian: np.ndarray, bits: int
) -> bool:
    """One pass over the inputs, in place, (…, K, O) throughout; whether an integer moved.

    The gradient is kept current within a block and beyond it only block by block, which turns
    most of the work into matrix products.
    """
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)[..., None]
    curvature = np.divide(1, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)[..., None, :]
    moved = False
    for start in range(0, codes.shape[-2], _BLOCK):
        block = slice(start, start + _BLOCK)
        square = hessian[..., block, block]
        local = gradient[..., block, :] * inverse
        # Where nothing pulls, as in a dead channel, an integer rounds to itself.
        change = np.zeros_like(local)
        for row in range(local.shape[-2]):
            current = codes[..., start + row, :]
            pull = local[..., row, :] * curvature[..., start + row, :]
            step = grid.round_to_grid(current + pull, bits) - current
            if step.any():
                current += step
                change[..., row, :] = step
                local -= square[..., row, :, None] * step[..., None, :]
        if change.any():
            moved = True
            gradient -= hessian[..., :, block] @ (change * scale[..., None, :])
    return moved


def _factor(
    wanted: np.ndarray,
    answered: np.ndarray,
    codes: np.ndarray,
    scale: np.ndarray,
    per_channel: bool,
) -> np.ndarray:
    """Return (…, O): what to multiply the scales by for the least error of the integers as they
    are. `wanted` and `answered` are H times the target and times the quantized weights."""
    product = np.einsum("...ko,...ko->...o", codes, wanted) * scale
    square = np.einsum("...ko,...ko->...o", codes, answered) * scale
    if not per_channel:
        product, square = (np.broadcast_to(v.sum(), scale.shape) for v in (product, square))
    fits = (square > 0) & (product > 0)
    return np.divide(product, square, out=np.ones_like(scale), where=fits)
