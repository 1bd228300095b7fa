"""Descent on a layer's output error over single integers and scales."""

import numpy as np

from .feedback import round_with_feedback

_BLOCK = 128


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
    scale = np.array(scale, dtype=target.dtype)
    codes = np.ascontiguousarray(np.swapaxes(integers, -1, -2).astype(target.dtype))
    if sweeps == 0:
        return np.swapaxes(codes, -1, -2), scale
    wanted = hessian @ np.swapaxes(target, -1, -2)
    for _ in range(sweeps):
        moved, square = _sweep(wanted, codes, scale, hessian, bits)
        if refit:
            product = np.einsum("...ko,...ko->...o", codes, wanted)
            scale = scale * _factor(product * scale, square * np.square(scale), per_channel)
        if not moved:
            break
    return np.swapaxes(codes, -1, -2), scale


def _sweep(
    wanted: np.ndarray, codes: np.ndarray, scale: np.ndarray, hessian: np.ndarray, bits: int
) -> tuple[bool, np.ndarray]:
    """One pass over the inputs, in place: whether an integer moved, and q·H·qᵀ (…, O) of the
    integers q that it leaves. `codes` and `wanted`, H times the target, are (…, K, O).

    What the integers answer is asked for block by block, in matrix products; within a block, a
    step is fed back to the rows after it.
    """
    diagonal = np.diagonal(hessian, axis1=-2, axis2=-1)[..., None]
    curvature = np.divide(1, diagonal, out=np.zeros_like(diagonal), where=diagonal > 0)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)[..., None, :]
    square = np.zeros_like(scale)
    moved = False
    for start in range(0, codes.shape[-2], _BLOCK):
        block = slice(start, start + _BLOCK)
        current = codes[..., block, :]
        before = hessian[..., block, :start] @ codes[..., :start, :]
        answered = before + hessian[..., block, start:] @ codes[..., start:, :]
        gradient = wanted[..., block, :] - answered * scale[..., None, :]
        # Where nothing pulls, as in a dead channel, an integer rounds to itself.
        pulled = current + gradient * inverse * curvature[..., block, :]
        within = hessian[..., block, block]
        feedback = within * np.swapaxes(curvature[..., block, :], -1, -2)
        found, error, _ = round_with_feedback(pulled, current, feedback, bits)
        moved |= bool(error.any())
        codes[..., block, :] = found
        square += np.einsum("...ko,...ko->...o", found, 2 * before + within @ found)
    return moved, square


def _factor(product: np.ndarray, square: np.ndarray, per_channel: bool) -> np.ndarray:
    """Return (…, O): what to multiply the scales by for the least error of the integers as they
    are. With W the target and Ŵ what stands for it, `product` is W·H·Ŵᵀ, `square` Ŵ·H·Ŵᵀ."""
    if not per_channel:
        product, square = (np.broadcast_to(v.sum(), v.shape) for v in (product, square))
    fits = (square > 0) & (product > 0)
    return np.divide(product, square, out=np.ones_like(product), where=fits)
