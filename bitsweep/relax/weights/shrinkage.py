"""How far a fit to calibration data is to be believed."""

import numpy as np

from .factor import Factor
from .moments import Moments


def shrinkage(weight: np.ndarray, moments: Moments, damping: float = 0.1) -> float:
    """Return which share, 0 to 1, of the way from `weight` (…, O, K) to the ridge solution for the
    wanted outputs to go.

    The ridge solution of the first half of the data is tried on the second half, where the best
    share has a closed form: signal over signal and noise. That of all data has half the noise
    (Spearman 1910, Brown 1910). `damping` is relative to the mean diagonal of the covariance.
    """
    hessian = moments.covariance(0)
    mean = np.diagonal(hessian, axis1=-2, axis2=-1).mean(axis=-1)
    penalty = np.where(mean > 0, damping * mean, 1.0)
    order = np.broadcast_to(np.arange(hessian.shape[-1]), hessian.shape[:-1])
    factor = Factor(hessian, penalty, order)
    wanted = moments.cross_covariance(0) + penalty[..., None, None] * weight
    step = factor.solve(wanted) - weight
    hessian = moments.covariance(1)
    moved = step @ hessian
    along = np.vdot(step, moments.cross_covariance(1)) - np.vdot(moved, weight)
    square = np.vdot(step, moved)
    if not (along > 0 and square > 0):
        return 0.0
    share = min(along / square, 1.0)
    return float(2 * share / (1 + share))
