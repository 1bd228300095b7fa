"""Rounding a layer's weights for its outputs, each rounding error passed on to what follows."""

import numpy as np

from bitsweep.relax.errors import NotQuantizable

from .descent import descend
from .factor import Factor, add_to_diagonal
from .feedback import round_with_feedback
from .nearest import nearest
from .scales import by_error

_BLOCK = 128
_CLIPS = (1.0, 1.1, 0.9, 1.2)
# Multiplications that the descent may cost, O·K² a sweep: only a thousand inputs or more reach it.
_EFFORT = 8e9


def gptq(
    weight: np.ndarray,
    hessian: np.ndarray,
    bits: int,
    *,
    cross: np.ndarray | None = None,
    trust: float = 1.0,
    scale: np.ndarray | None = None,
    damping: float = 0.1,
    activation_order: bool = True,
    per_channel: bool = True,
    sweeps: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 (…, O, K) on the grid of `bits` and their scales, float32 (…, O).

    The integers nearly minimise the error of the outputs, the trace of (W − Ŵ)·H·(W − Ŵ)ᵀ, with W
    = `weight` (…, O, K) and H = `hessian` (…, K, K), the second moments of the inputs that the
    quantized layer reads — their covariance where a corrected bias takes up the mean, as
    `Moments.covariance`. Leading axes are groups. H is damped by `damping` times its mean diagonal.

    - `cross` (…, O, K), the moments of the float layer's outputs with those inputs (divided as H
      is), makes the outputs the aim in place of the weights: W is first moved by `trust` times
      (cross − W·H)·(H + λ)⁻¹, for 1 to the ridge solution, which makes up for errors of earlier
      layers. `shrinkage` says how far to trust it.
    - Integers are found in the order of falling second moment, or as they stand, by the second
      order (Frantar et al. 2022, arXiv:2210.17323), computed as successive cancellation along a
      triangular factor of H, which gives the same (Chee et al. 2023, arXiv:2307.13304, theorem 6)
      without inverting H; then improved by up to `sweeps` of `descend`, fewer in the widest layers.
    - Scales start from the weight error, some multiples compete on the output error, and the
      descent refits them. A given `scale` (…, O) is kept as it is. One scale for all outputs
      unless `per_channel`.

    No channel is left with a larger error, under the damped H, than rounding to nearest with the
    scale of `by_error` gives it. Inputs that are all zero are rounded to nearest.

    Raises `NotQuantizable` for what is not finite, `ValueError` for what, without damping, is not
    positive definite.
    """
    weight, hessian = np.asarray(weight), np.asarray(hessian)
    if not (np.isfinite(weight).all() and np.isfinite(hessian).all()):
        raise NotQuantizable("weights or second moments are not finite")
    # float32 is wide enough once neither the inputs' unit nor a channel's magnitude matters.
    mean = np.diagonal(hessian, axis1=-2, axis2=-1).mean(axis=-1)
    power = mean.max() if mean.max() > 0 else 1.0
    hessian, mean = (hessian / power).astype(np.float32, copy=False), mean / power
    penalty = np.where(mean > 0, damping * mean, 1.0)
    order = _order(np.diagonal(hessian, axis1=-2, axis2=-1), activation_order)
    factor = Factor(hessian, penalty, order)
    if cross is not None:
        fitted = factor.solve(cross / power + penalty[..., None, None] * weight)
        weight = weight + trust * (fitted - weight)
    magnitude = _magnitude(weight, per_channel)
    target = (weight / magnitude[..., None]).astype(np.float32)
    affordable = int(_EFFORT / (target.size * target.shape[-1]))
    if scale is None:
        clips, start = _CLIPS[: max(affordable // 8, 1)], by_error(target, bits, per_channel)
    else:
        clips, start = (1.0,), (scale / magnitude).astype(np.float32)
    ordered = np.take_along_axis(target, order[..., None, :], -1)
    codes, start = _best_start(ordered, start, clips, factor, bits, per_channel)
    integers = np.empty_like(target)
    np.put_along_axis(integers, order[..., None, :], codes, -1)
    add_to_diagonal(hessian, penalty)
    integers, final = descend(
        target,
        integers,
        start,
        hessian,
        bits,
        sweeps=min(sweeps, max(affordable, 2)),
        refit=scale is None,
        per_channel=per_channel,
    )
    if scale is None:
        scale = final * magnitude
    return integers.astype(np.int8), scale.astype(np.float32)


def _magnitude(weight: np.ndarray, per_channel: bool) -> np.ndarray:
    """Return (…, O): the power of two just above the weights, 1 for none."""
    largest = np.abs(weight).max(axis=-1)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    return np.where(largest > 0, np.ldexp(1.0, np.frexp(largest)[1]), 1.0)


def _order(diagonal: np.ndarray, by_activation: bool) -> np.ndarray:
    if by_activation:
        return np.argsort(-diagonal, axis=-1, kind="stable")
    return np.broadcast_to(np.arange(diagonal.shape[-1]), diagonal.shape)


def _best_start(
    target: np.ndarray,
    scale: np.ndarray,
    clips: tuple[float, ...],
    factor: Factor,
    bits: int,
    per_channel: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers (…, O, K) and scales (…, O) of least output error: from every multiple
    of `scale` by successive cancellation, and from `scale` by rounding to nearest."""
    unit, pivots = factor.unit()
    scales = [scale * np.float32(clip) for clip in clips]
    # The candidates go through the steps side by side, as so many more outputs.
    codes, error = _cancel(
        np.concatenate([target] * len(clips), axis=-2),
        np.concatenate(scales, -1),
        unit,
        pivots,
        bits,
    )
    candidates = [*np.split(codes, len(clips), axis=-2), nearest(target, scale, bits)]
    errors = np.split(error, len(clips), axis=-1)
    errors.append(_error(target - candidates[-1] * scale[..., None], unit, pivots))
    stacked = np.stack(errors)
    if not per_channel:
        stacked = np.broadcast_to(
            stacked.sum(axis=tuple(range(1, stacked.ndim)), keepdims=True), stacked.shape
        )
    best = stacked.argmin(axis=0)
    codes, scale = candidates[0], scales[0]
    for index, (other, its_scale) in enumerate(zip(candidates, [*scales, scale], strict=True)):
        codes = np.where((best == index)[..., None], other, codes)
        scale = np.where(best == index, its_scale, scale)
    return codes, scale


def _error(difference: np.ndarray, unit: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """Return e·H·eᵀ (…, O) of the rows e of `difference` (…, O, K), H = U·diag(pivots)·Uᵀ."""
    total = np.zeros(difference.shape[:-1], dtype=difference.dtype)
    count = difference.shape[-1]
    for start in range(0, count, 8 * _BLOCK):
        end = min(start + 8 * _BLOCK, count)
        product = difference[..., :end] @ unit[..., :end, start:end]
        total += np.einsum("...ok,...k->...o", np.square(product), pivots[..., start:end])
    return total


def _cancel(
    target: np.ndarray, scale: np.ndarray, unit: np.ndarray, pivots: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return integers (…, O, K) and output errors (…, O).

    `unit` (…, K, K) is upper triangular with a diagonal of ones, `pivots` (…, K): the output error
    is Σ_k pivots[k]·(Σ_j≤k e[j]·unit[j, k])², so weight k is rounded with what the errors before it
    add up to there. Blocks as in the paper: what lies ahead of a block is brought up to date once.
    """
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    wanted = np.ascontiguousarray(np.swapaxes(target * inverse[..., None], -1, -2))
    codes, error = np.empty_like(wanted), np.empty_like(wanted)
    total = np.zeros_like(scale)
    for start in range(0, wanted.shape[-2], _BLOCK):
        block = slice(start, start + _BLOCK)
        here, fed_back = wanted[..., block, :], unit[..., :start, block]
        codes[..., block, :], error[..., block, :], remainder = round_with_feedback(
            here + np.swapaxes(fed_back, -1, -2) @ error[..., :start, :],
            here,
            unit[..., block, block],
            bits,
        )
        total += np.einsum("...ko,...k->...o", np.square(remainder), pivots[..., block])
    return np.swapaxes(codes, -1, -2), total * np.square(scale)
