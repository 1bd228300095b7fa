"""How far a fit to calibration data is to be believed."""

import numpy as np

from .factor import Factor, add_to_diagonal
from .moments import Moments, Rows


def shrinkage(weight: np.ndarray, moments: Moments, damping: float = 0.1) -> float:
    """Return which share, 0 to 1, of the way from `weight` (…, O, K) to the ridge solution for the
    wanted outputs to go.

    The ridge solution of the first half of the data is tried on the second half, where the best
    share has a closed form: signal over signal and noise. That of all data has half the noise
    (Spearman 1910, Brown 1910). `damping` is relative to the mean diagonal of the covariance.
    """
    fitted, judged = moments.centred(0), moments.centred(1)
    if fitted and fitted[0].shape[-2] < weight.shape[-1]:
        along, square = _by_rows(weight, fitted, judged, damping)
    else:
        along, square = _by_moments(weight, moments, damping)
    if not (along > 0 and square > 0):
        return 0.0
    share = min(along / square, 1.0)
    return float(2 * share / (1 + share))


def _by_moments(weight: np.ndarray, moments: Moments, damping: float) -> tuple[float, float]:
    """What the step to the ridge solution of one half explains of the other's outputs: its product
    with what the weights leave unexplained, and its square."""
    hessian = moments.covariance(0)
    penalty = _penalty(np.diagonal(hessian, axis1=-2, axis2=-1).mean(axis=-1), damping)
    order = np.broadcast_to(np.arange(hessian.shape[-1]), hessian.shape[:-1])
    factor = Factor(hessian, penalty, order)
    wanted = moments.cross_covariance(0) + penalty[..., None, None] * weight
    step = factor.solve(wanted) - weight
    moved = step @ moments.covariance(1)
    along = np.vdot(step, moments.cross_covariance(1)) - np.vdot(moved, weight)
    return along, np.vdot(step, moved)


def _by_rows(weight: np.ndarray, fitted: Rows, judged: Rows, damping: float) -> tuple[float, float]:
    """The same, to a factor, where rows are fewer than inputs: kernel ridge regression (Saunders et
    al. 1998) of what the weights leave unexplained, which needs no matrix of inputs by inputs."""
    unexplained = [wanted - read @ np.swapaxes(weight, -1, -2) for read, wanted in (fitted, judged)]
    read, others = fitted[0], judged[0]
    count, width = read.shape[-2:]
    kernel = read @ np.swapaxes(read, -1, -2)
    mean = np.trace(kernel, axis1=-2, axis2=-1) / (count * width)
    add_to_diagonal(kernel, count * _penalty(mean, damping))
    step = np.linalg.solve(kernel, unexplained[0].astype(kernel.dtype))
    answers = (others @ np.swapaxes(read, -1, -2)) @ step
    return np.vdot(answers, unexplained[1]), np.vdot(answers, answers)


def _penalty(mean: np.ndarray, damping: float) -> np.ndarray:
    return np.where(mean > 0, damping * mean, 1.0)
