"""Reweighting: what a layer's error counts for in the network, learnt from plans tried there."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import lsq_linear

from bitsweep.search.allocation import Layers
from bitsweep.search.plans import Network, Plan

_NEAREST = 8
_TRUST = 0.03  # in that a layer's error counts as measured alone, against what plans showed
_LEAST_NATS = 1e-6


def reweighted(network: Network, tried: Sequence[Plan], bytes_near: float) -> Layers:
    """Return the layers with errors times a factor each, by which they add up to what was measured.

    Measured alone, errors leave out that at few bits one layer's adds to, or hides, another's. The
    factors, not negative, are a ridge regression of the errors of the plans nearest to so many
    bytes on those of their layers, relative to what was measured, towards one factor for all.
    """
    near = sorted(tried, key=lambda plan: abs(np.log(plan.bytes / bytes_near)))[:_NEAREST]
    parts = np.array([[c.error for c in network.choice(plan.layer_bits).values()] for plan in near])
    measured = np.maximum([plan.error for plan in near], _LEAST_NATS)
    share = parts / measured[:, None]
    common = np.median(1 / np.maximum(share.sum(axis=1), 1e-12))
    ridge = np.sqrt(_TRUST) * np.eye(parts.shape[1])
    found = lsq_linear(
        np.vstack([share * common, ridge]),
        np.concatenate([np.ones(len(near)), np.diag(ridge)]),
        bounds=(0, np.inf),
    )
    return {
        name: tuple(
            dataclasses.replace(candidate, error=candidate.error * factor)
            for candidate in candidates
        )
        for (name, candidates), factor in zip(network.layers.items(), found.x, strict=True)
    }
