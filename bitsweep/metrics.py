"""How close a module's answers are to the reference's.

Outputs are scores of shape (images, classes). Ties are settled against the module: a class is
within the top k only when fewer than k others score at least as much, and an image whose scores
are all equal, or not all finite, answers nothing. A constant output therefore never agrees.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from bitsweep.proportions import wilson_interval

NEGLIGIBLE_DB = 0.01
"""A centred SQNR up to here is a constant's: what rounding makes of 0 dB is no gain."""

_OF_LABELLED = (
    "top1_accuracy",
    "top1_accuracy_low",
    "top1_accuracy_high",
    "top5_accuracy",
    "reference_top1_accuracy",
    "images_gained",
    "images_lost",
    "constant_accuracy",
)


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def compare(
    outputs: ArrayLike, reference: ArrayLike, labels: ArrayLike | None = None
) -> dict[str, float | int | bool | None]:
    """Compare outputs with the reference's, both floats of shape (images, classes).

    `labels` are the true classes, integers of shape (images,). Every value is safe in JSON:

    - `images`: how many were compared.
    - `top1_agreement`, `top5_agreement`: share of images whose reference top-1 is the module's
      top-1, or within its top 5. `top1_accuracy`, `top5_accuracy`, `reference_top1_accuracy`:
      the same against `labels`; None without them.
    - `top1_agreement_low`, `_high`, `top1_accuracy_low`, `_high`: their 95% Wilson intervals.
    - `images_gained`, `images_lost`: how many images the module alone has right, and the reference
      alone; None without labels. The reference is the float32 network, which an engine's own
      float module equals to 1e-4, so this is the difference from float32 (`bitsweep.pairs`).
    - `constant_agreement`, `constant_accuracy`: what one class for all images would have, at best:
      the share of the reference's most frequent top-1, and of the most frequent label.
    - `exact`: outputs equal the reference's in every element.
    - `sqnr_db`: see `sqnr_db`.
    - `centred_sqnr_db`: see `centred_sqnr_db`.
    - `cosine`: cosine similarity, mean over images; 0 for a zero or non-finite vector.
    - `max_abs_error`: largest absolute difference; None where it is not finite.
    - `degenerate`: see `is_degenerate`.

    Raises `ValueError` when shapes differ or are empty, the reference is not finite, or labels do
    not fit.
    """
    outputs, reference = _checked(outputs, reference)
    images = len(outputs)
    expected = reference.argmax(axis=1)
    agreement = float(_in_top(outputs, expected, 1).mean())
    low, high = wilson_interval(agreement, images)
    return {
        "images": images,
        "top1_agreement": agreement,
        "top1_agreement_low": low,
        "top1_agreement_high": high,
        "top5_agreement": float(_in_top(outputs, expected, 5).mean()),
        "constant_agreement": _share_of_most_frequent(expected),
        **_accuracy(outputs, reference, labels),
        "exact": bool((outputs == reference).all()),
        "sqnr_db": sqnr_db(outputs, reference),
        "centred_sqnr_db": centred_sqnr_db(outputs, reference),
        "cosine": float(_cosine(outputs, reference).mean()),
        "max_abs_error": _finite(np.abs(outputs - reference).max()),
        "degenerate": is_degenerate(outputs, reference),
    }


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def sqnr_db(outputs: ArrayLike, reference: ArrayLike) -> float | None:
    """Return 10 log10 of Σ r² over Σ (a − r)², a and r being all elements of two equal shapes.

    None where that is not finite: when the two are equal, when the reference is all zero, and when
    outputs are not finite.
    """
    outputs, reference = np.asarray(outputs, np.float64), np.asarray(reference, np.float64)
    return _finite(_decibels(reference, outputs - reference))


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def centred_sqnr_db(outputs: NDArray[np.float64], reference: NDArray[np.float64]) -> float | None:
    """Return 10 log10 of Σ (r − r̄)² over Σ (a − r)², r̄ being the reference's mean over images.

    The answers a and the reference r have shape (images, classes). The mean answer r̄, given to
    every image, has 0 dB and any other constant less, so this is −10 log10(1 − R²), R² being the
    coefficient of determination. A constant error counts: it shifts the top-1. None where it is not
    finite, as for `sqnr_db`, and where the reference's answers are all the same.
    """
    return _finite(_decibels(_deviation(reference), outputs - reference))


def kl_divergence(outputs: ArrayLike, reference: ArrayLike) -> float:
    """Return by how much softmax(outputs) diverges from softmax(reference), in nats.

    Both have shape (images, classes); the mean over images of Σ p (log p − log q), p being the
    reference's probabilities (Kullback and Leibler, 1951). Raises `ValueError` as `compare` does,
    and where outputs are not finite.
    """
    outputs, reference = _checked(outputs, reference)
    if not np.isfinite(outputs).all():
        raise ValueError("the outputs must be finite")
    log_q, log_p = log_softmax(outputs, axis=1), log_softmax(reference, axis=1)
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    return max(float(divergence), 0.0)  # which rounding may have made negative


def cross_entropy(outputs: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean over images of −log softmax(outputs) at the label, in nats.

    `outputs` are scores of shape (images, classes), `labels` integers (images,). Raises
    `ValueError` for labels as `compare` does, and where outputs are not finite.
    """
    outputs = np.asarray(outputs, np.float64)
    truth = _checked_labels(labels, *outputs.shape)
    if not np.isfinite(outputs).all():
        raise ValueError("the outputs must be finite")
    return float(-log_softmax(outputs, axis=1)[np.arange(len(truth)), truth].mean())


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def is_degenerate(outputs: NDArray[np.float64], reference: NDArray[np.float64]) -> bool:
    """Return whether outputs of shape (images, classes) do no better than a constant.

    True when any output is not finite; and, where the reference's answers differ, when outputs are
    no better than a constant by either measure: the centred SQNR is at most `NEGLIGIBLE_DB`, and
    the top-1 agreement exceeds `constant_agreement` by no more than chance (its 95% Wilson interval
    reaches down there). One alone may be blind: agreement where the reference has one class for
    nearly all images, as an untrained network has, SQNR where scores of another scale rank alike.
    """
    if not np.isfinite(outputs).all():
        return True
    if (reference == reference[0]).all():
        return False
    if _decibels(_deviation(reference), outputs - reference) > NEGLIGIBLE_DB:
        return False
    expected = reference.argmax(axis=1)
    low, _ = wilson_interval(float(_in_top(outputs, expected, 1).mean()), len(expected))
    return low <= _share_of_most_frequent(expected)


def _accuracy(
    outputs: NDArray[np.float64], reference: NDArray[np.float64], labels: ArrayLike | None
) -> dict[str, float | int | None]:
    """Return the figures of `compare` that need labels, None without them."""
    if labels is None:
        return dict.fromkeys(_OF_LABELLED)
    images, classes = outputs.shape
    truth = _checked_labels(labels, images, classes)
    right, right_in_float = _in_top(outputs, truth, 1), _in_top(reference, truth, 1)
    accuracy = float(right.mean())
    found = (
        accuracy,
        *wilson_interval(accuracy, images),
        float(_in_top(outputs, truth, 5).mean()),
        float(right_in_float.mean()),
        int((right & ~right_in_float).sum()),
        int((right_in_float & ~right).sum()),
        _share_of_most_frequent(truth),
    )
    return dict(zip(_OF_LABELLED, found, strict=True))


def _checked(outputs: ArrayLike, reference: ArrayLike) -> tuple[NDArray, NDArray]:
    outputs, reference = np.asarray(outputs, np.float64), np.asarray(reference, np.float64)
    if outputs.shape != reference.shape or outputs.ndim != 2 or outputs.size == 0:
        raise ValueError(
            "outputs and reference must have one shape (images, classes), "
            f"not {outputs.shape} and {reference.shape}"
        )
    if not np.isfinite(reference).all():
        raise ValueError("the reference outputs must be finite")
    return outputs, reference


def _checked_labels(labels: ArrayLike, images: int, classes: int) -> NDArray[np.intp]:
    truth = np.asarray(labels)
    if truth.shape != (images,) or truth.dtype.kind not in "iu":
        raise ValueError(f"labels must be {images} integers, not {truth.dtype} of {truth.shape}")
    if truth.min() < 0 or truth.max() >= classes:
        raise ValueError(f"labels must be below the {classes} classes and not negative")
    return truth.astype(np.intp)


def _in_top(scores: NDArray[np.float64], wanted: NDArray[np.intp], k: int) -> NDArray[np.bool_]:
    """Return of each image whether its wanted class is within the top k, ties against it."""
    score = np.take_along_axis(scores, wanted[:, np.newaxis], axis=1)
    others_at_least_as_good = (scores >= score).sum(axis=1) - 1
    answered = np.isfinite(scores).all(axis=1) & (scores.max(axis=1) > scores.min(axis=1))
    return answered & (others_at_least_as_good < k)


def _share_of_most_frequent(classes: NDArray[np.intp]) -> float:
    return float(np.bincount(classes).max() / len(classes))


def _deviation(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    return reference - reference.mean(axis=0)


def _decibels(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    return 20 * (np.log10(np.linalg.norm(signal)) - np.log10(np.linalg.norm(noise)))


def _cosine(outputs: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosine similarity of each image, shape (images,)."""
    return (_unit(outputs) * _unit(reference)).sum(axis=1)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each row to length 1; a zero or non-finite row becomes zero."""
    for order in (np.inf, 2):  # the largest element first, whose square might overflow
        length = np.linalg.norm(vectors, order, axis=1, keepdims=True)
        vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return vectors


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
