"""How close a module's answers are to the reference's.

Outputs are scores of shape (images, classes). Ties are settled against the module: a class is
within the top k only when fewer than k others score at least as much, and an image whose scores
are all equal, or not all finite, answers nothing. A constant output therefore never agrees.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEGLIGIBLE_SPREAD = 1e-3
IMAGES_TO_VARY = 10


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
    - `exact`: outputs equal the reference's in every element.
    - `sqnr_db`: 10 log10 of the reference's power over the error's. None where it is not finite:
      when `exact`, when the reference is all zero, and when outputs are not finite.
    - `cosine`: cosine similarity, mean over images; 0 for a zero or non-finite vector.
    - `max_abs_error`: largest absolute difference; None where it is not finite.
    - `degenerate`: see `is_degenerate`.

    Raises `ValueError` when shapes differ or are empty, the reference is not finite, or labels do
    not fit.
    """
    outputs, reference = _checked(outputs, reference)
    images, classes = outputs.shape
    expected = reference.argmax(axis=1)
    top1, top5 = _share_in_top(outputs, expected, 1), _share_in_top(outputs, expected, 5)
    top1_accuracy = top5_accuracy = reference_accuracy = None
    if labels is not None:
        truth = _checked_labels(labels, images, classes)
        top1_accuracy = _share_in_top(outputs, truth, 1)
        top5_accuracy = _share_in_top(outputs, truth, 5)
        reference_accuracy = _share_in_top(reference, truth, 1)
    return {
        "images": images,
        "top1_agreement": top1,
        "top5_agreement": top5,
        "top1_accuracy": top1_accuracy,
        "top5_accuracy": top5_accuracy,
        "reference_top1_accuracy": reference_accuracy,
        "exact": bool((outputs == reference).all()),
        "sqnr_db": _sqnr_db(outputs, reference),
        "cosine": float(_cosine(outputs, reference).mean()),
        "max_abs_error": _finite(np.abs(outputs - reference).max()),
        "degenerate": is_degenerate(outputs, reference),
    }


def is_degenerate(outputs: NDArray[np.float64], reference: NDArray[np.float64]) -> bool:
    """Return whether outputs of shape (images, classes) no longer depend on their input.

    True when any output is not finite; when the outputs' spread over images (root mean square over
    classes of the standard deviation over images) is below `NEGLIGIBLE_SPREAD` of the reference's;
    or when, over at least `IMAGES_TO_VARY` images, the top-1 class is one and the same while the
    reference gives it to fewer than half of them. The last two need a reference that varies.
    """
    if not np.isfinite(outputs).all():
        return True
    if _spread(outputs) < NEGLIGIBLE_SPREAD * _spread(reference):
        return True
    answers, expected = outputs.argmax(axis=1), reference.argmax(axis=1)
    is_constant = len(answers) >= IMAGES_TO_VARY and np.ptp(answers) == 0
    return bool(is_constant and np.mean(expected == answers[0]) < 0.5)


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


def _share_in_top(scores: NDArray[np.float64], wanted: NDArray[np.intp], k: int) -> float:
    """Return the share of images whose wanted class is within the top k, ties against it."""
    score = np.take_along_axis(scores, wanted[:, np.newaxis], axis=1)
    others_at_least_as_good = (scores >= score).sum(axis=1) - 1
    answered = np.isfinite(scores).all(axis=1) & (scores.max(axis=1) > scores.min(axis=1))
    return float((answered & (others_at_least_as_good < k)).mean())


def _sqnr_db(outputs: NDArray[np.float64], reference: NDArray[np.float64]) -> float | None:
    signal, noise = np.linalg.norm(reference), np.linalg.norm(outputs - reference)
    return _finite(20 * (np.log10(signal) - np.log10(noise)))


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


def _spread(scores: NDArray[np.float64]) -> float:
    return float(np.sqrt(scores.var(axis=0).mean()))
