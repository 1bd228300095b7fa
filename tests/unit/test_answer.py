"""What the searches left, as tables and in the summary: the searching is real, the network not."""

import json
import re

import pandas as pd
import pytest

from bitsweep import tables
from bitsweep.answer import layers, plans
from bitsweep.errors import UserError
from bitsweep.pairs import difference_interval
from bitsweep.proportions import wilson_interval
from bitsweep.search.plans import Plan
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


@pytest.fixture(scope="module")
def tried(results, experiments):
    return plans.collect(searched.searches(experiments), results)


@pytest.fixture(scope="module")
def chosen(results, experiments):
    return layers.collect(searched.searches(experiments), results)


def report(results, precision, model="digits"):
    path = results / model / "relax" / "cpu" / precision / "search_report.json"
    return json.loads(path.read_text())


def test_every_plan_that_was_tried_has_one_row(results, tried):
    records = json.loads((results / "digits/relax/cpu/frontier_plans.json").read_text())
    for precision in ("fewest_bits", "small"):
        records += report(results, precision)["tried"]
    digits = tried[tried["model"] == "digits"]
    assert len(digits) == len({json.dumps(record["layer_bits"]) for record in records})
    assert len(digits) < len(records)
    assert digits["bytes"].is_monotonic_decreasing
    assert digits["uniform_bits"].dropna().tolist() == [8, 4, 3, 2, 1]
    assert set(digits[digits["uniform_bits"].isna()]["kind"]) == {"mixed"}


def test_a_search_names_the_plan_that_it_chose(results, tried):
    for precision in ("fewest_bits", "small"):
        plan = Plan.read(report(results, precision)["plan"])
        (row,) = (r for _, r in tried[tried["model"] == "digits"].iterrows()
                  if r["chosen_by"] is not pd.NA and precision in r["chosen_by"])  # fmt: skip
        assert (row["bytes"], row["error"]) == (plan.bytes, plan.error)
    assert not tried["chosen_by"].str.contains("hard").any()


def test_what_two_searches_chose_names_both(results):
    goals = {name: searched.GOALS["fewest_bits"] for name in ("fewest_bits", "small")}
    ours = searched.leave(results / "twice", "digits", goals)
    found = plans.collect(searched.searches(ours), results / "twice")
    assert found["chosen_by"].dropna().tolist() == ["fewest_bits, small"]


def test_accuracies_have_their_intervals_and_differences(tried):
    row = tried[tried["model"] == "digits"].iloc[-1]
    assert (row["images"], row["reference_top1_accuracy"]) == (searched.IMAGES, 0.98)
    for name in ("top1_accuracy", "top1_agreement"):
        ends = wilson_interval(row[name], searched.IMAGES)
        assert (row[f"{name}_low"], row[f"{name}_high"]) == ends
    assert row["accuracy_difference"] == pytest.approx(row["top1_accuracy"] - 0.98)
    lost = round(searched.IMAGES * (0.98 - row["top1_accuracy"]))
    ends = difference_interval(0, lost, searched.IMAGES)
    assert (row["accuracy_difference_low"], row["accuracy_difference_high"]) == ends
    unlabelled = tried[tried["model"] == "resnet50"]
    assert unlabelled[["top1_accuracy", "accuracy_difference", "loss"]].isna().all(axis=None)
    assert unlabelled["top1_agreement_low"].notna().all()


def test_latencies_are_there_where_layers_were_timed(tried):
    assert tried[tried["model"] == "digits"]["latency_ms"].notna().all()
    assert tried[tried["model"] == "resnet50"]["latency_ms"].isna().all()


def test_bytes_are_set_beside_float32s(results, tried):
    costs = json.loads((results / "digits/relax/cpu/layer_costs.json").read_text())
    floats = sum(layer["bytes_float32"] for layer in costs["layers"])
    digits = tried[tried["model"] == "digits"]
    assert digits["bytes_vs_float32"].tolist() == pytest.approx(list(digits["bytes"] / floats))


def test_layers_add_up_to_their_plan(results, chosen):
    plan = Plan.read(report(results, "small")["plan"])
    own = chosen[(chosen["model"] == "digits") & (chosen["precision"] == "small")]
    assert own["layer"].tolist() == list(plan.layer_bits)
    pairs = zip(own["weight_bits"], own["input_bits"], strict=True)
    assert list(pairs) == list(plan.layer_bits.values())
    assert own["bytes"].sum() == plan.bytes
    assert own["error"].sum() == pytest.approx(plan.predicted_error)
    assert 0.02 + own["latency_ms"].sum() == pytest.approx(plan.latency_ms)
    assert set(own["least_bits"]) == {1}
    assert (own["least_error"] >= own["error"]).all()


def test_a_search_that_failed_has_a_row_without_a_layer(chosen):
    (row,) = (row for _, row in chosen[chosen["precision"] == "hard"].iterrows())
    assert (row["state"], row["failed_stage"]) == ("failed", "search")
    assert pd.isna(row["layer"])


def test_nothing_needs_a_plan(tmp_path):
    hard = {"hard": searched.GOALS["hard"]}
    ours = searched.leave(tmp_path, "digits", hard)
    assert len(plans.collect(searched.searches(ours), tmp_path)) > 5
    stages = ("costs", "frontier", "search")
    for stage in stages:
        folder = searched.experiment("hard") if stage == "search" else "digits/relax/cpu"
        skipped = tmp_path / str(folder) / f"{stage}.json"
        text = skipped.read_text().replace('"ok"', '"skipped"').replace('"failed"', '"skipped"')
        text = re.sub(r'"skipped_by": (null|"\w+")', '"skipped_by": "import"', text)
        skipped.write_text(text)
    assert plans.collect(searched.searches(ours), tmp_path).empty
    (row,) = (row for _, row in layers.collect(searched.searches(ours), tmp_path).iterrows())
    assert row["failed_stage"] == "import"


def test_a_file_that_no_stage_left_is_refused(tmp_path):
    ours = searched.leave(tmp_path, "digits", {"fewest_bits": searched.GOALS["fewest_bits"]})
    path = tmp_path / "digits/relax/cpu/fewest_bits/search_report.json"
    path.write_text(path.read_text().replace("200", "201"))
    for collect in (plans.collect, layers.collect):
        with pytest.raises(UserError, match=r"search_report\.json is corrupt"):
            collect(searched.searches(ours), tmp_path)


def test_the_table_survives_its_file(tried, tmp_path):
    tables.write(tried, tmp_path / "frontier.csv")
    again = pd.read_csv(tmp_path / "frontier.csv").astype(plans.COLUMNS)
    pd.testing.assert_frame_equal(again, tried)


def test_each_search_ends_with_its_sentence(results, experiments):
    summary = searched.summarise(results, experiments)
    answers = summary.set_index(["model", "precision"])["answer"]
    assert answers.notna().sum() == len(searched.searches(experiments)) == 4
    assert answers["digits", "fewest_bits"].startswith("digits keeps 98.0 % top-1 within 1 point (")
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
