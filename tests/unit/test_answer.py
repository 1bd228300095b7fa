"""What the searches left, in the summary: the searching is real, the network not."""

import pytest

from bitsweep.summary import markdown, terminal
from tests.unit import searched, synthetic


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def experiments(results):
    """Two networks, the second one without labels and without times."""
    goals = searched.GOALS | {"small": searched.FASTEST}
    digits = searched.leave(results, "digits", goals, timed=True)
    agreeing = {"fewest_bits": searched.GOALS["fewest_bits"] | {"tolerance": 5}}
    return digits + searched.leave(results, "resnet50", agreeing, layers=20, seed=3)


def test_each_search_ends_with_its_sentence(results, experiments):
    summary = searched.summarise(results, experiments)
    answers = summary.set_index(["model", "precision"])["answer"]
    assert answers.notna().sum() == len(searched.searches(experiments)) == 4
    assert answers["digits", "fewest_bits"].startswith("digits keeps 97.0 % top-1 within 1 point (")
    assert "0.26 of float32's size, 1.7x as fast; " in answers["digits", "fewest_bits"]
    assert answers["digits", "hard"].startswith("digits, failed@search: no plan has at most 10 by")
    assert answers["resnet50", "fewest_bits"].startswith("resnet50 (untrained weights) agrees")
    assert terminal(summary).splitlines()[-4:-1] == [
        f"{answers['digits', name]} ({name})" for name in ("fewest_bits", "small", "hard")
    ]
    told = markdown(summary).split("\n## ")[1]
    assert told.startswith("The answer\n\n- digits keeps")
    assert told.count("\n- ") == 4


def test_a_stage_after_the_search_may_fail(tmp_path):
    ours = searched.leave(tmp_path, "digits", {"fewest_bits": searched.GOALS["fewest_bits"]})
    searched.fail(tmp_path, searched.experiment("fewest_bits"), synthetic.TIMEOUT, "compile")
    summary = searched.summarise(tmp_path, ours)
    (answer,) = summary["answer"].dropna()
    assert "(failed@compile, so that no test image was answered)" in answer


def test_without_searches_there_is_no_answer(tmp_path):
    summary = synthetic.summarise(tmp_path, synthetic.sweep(["digits"]))
    assert "The answer" not in markdown(summary)
    assert terminal(summary).endswith("2600 MHz.")
