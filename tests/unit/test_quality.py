import json

import numpy as np
import pytest

from bitsweep import quality

GENERATOR = np.random.default_rng(0)
REFERENCE = GENERATOR.standard_normal((12, 5)).astype(np.float32)
ANSWERS = REFERENCE + 0.3 * GENERATOR.standard_normal((12, 5)).astype(np.float32)
LABELS = GENERATOR.integers(0, 5, 12)


def written(folder, answers, **reference):
    np.savez(folder / "answers.npz", output=answers)
    np.savez(folder / "reference.npz", input=np.zeros((12, 1)), **reference)
    outputs = {"answers": folder / "answers.npz", "quality": folder / "quality.json"}
    quality.write({"reference": folder / "reference.npz"}, outputs)
    return json.loads((folder / "quality.json").read_text())


def share_of_most(classes):
    return max(np.mean(classes == c) for c in range(5))


@pytest.mark.parametrize("labels", [None, LABELS], ids=["unlabelled", "labelled"])
def test_the_file_holds_the_metrics_of_answers_against_the_reference(tmp_path, labels):
    known = {} if labels is None else {"label": labels}
    figures = written(tmp_path, ANSWERS, output=REFERENCE, **known)
    top, expected = ANSWERS.argmax(axis=1), REFERENCE.argmax(axis=1)
    error, deviation = ANSWERS - REFERENCE, REFERENCE - REFERENCE.mean(axis=0)
    known = {
        "images": 12,
        "top1_agreement": np.mean(top == expected),
        "constant_agreement": share_of_most(expected),
        "top1_accuracy": None if labels is None else np.mean(top == labels),
        "reference_top1_accuracy": None if labels is None else np.mean(expected == labels),
        "constant_accuracy": None
        if labels is None
        else max(np.mean(labels == c) for c in range(5)),
        "exact": False,
        "sqnr_db": pytest.approx(10 * np.log10(np.sum(REFERENCE**2) / np.sum(error**2))),
        "centred_sqnr_db": pytest.approx(10 * np.log10(np.sum(deviation**2) / np.sum(error**2))),
        "max_abs_error": pytest.approx(np.abs(error).max()),
        "degenerate": False,
    }
    assert {name: figures[name] for name in known} == known
    assert set(figures) - set(known) == {
        *("top5_agreement", "top5_accuracy", "cosine"),
        *(f"top1_{share}_{end}" for share in ("agreement", "accuracy") for end in ("low", "high")),
        *("images_gained", "images_lost"),
    }


def test_which_of_the_two_is_the_reference_matters(tmp_path):
    constant = np.ones_like(REFERENCE)
    assert written(tmp_path, constant, output=REFERENCE)["degenerate"]
    assert not written(tmp_path, REFERENCE, output=constant)["degenerate"]


def test_answers_that_are_not_finite_still_make_a_json_file(tmp_path):
    broken = ANSWERS.copy()
    broken[0, 0] = np.nan
    figures = written(tmp_path, broken, output=REFERENCE)
    assert figures["degenerate"]
    assert (figures["sqnr_db"], figures["max_abs_error"]) == (None, None)
    assert "NaN" not in (tmp_path / "quality.json").read_text()
