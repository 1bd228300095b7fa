"""The table of sensitivities and its plot, from files as the stage leaves them."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from bitsweep import sensitivity, tables
from bitsweep.errors import UserError
from bitsweep.outcome import Experiment, Failure, Outcome, describe
from bitsweep.plots.sensitivity import draw
from tests.unit import synthetic
from tests.unit.figures import assert_texts_within


def experiment(model="digits", precision="w2a8", target="cpu"):
    return Experiment(model=model, engine="relax", target=target, precision=precision)


def layers(count, **more):
    generator = np.random.default_rng(count)
    return [
        {
            "layer": f"conv2d_{index}",
            "weight_bits": 2,
            "input_bits": 8,
            "macs": int(generator.integers(10**6, 10**8)),
            "weights": int(generator.integers(10**3, 10**6)),
            "sqnr_db": float(generator.normal(20, 3)),
            "output_sqnr_db": float(generator.normal(30, 6)),
            "top1_accuracy": None,
            "top1_agreement": 0.96,
            **more,
        }
        for index in range(count)
    ]


def leave(results, of, found=None, **state):
    """Write what the stage leaves: layers, or an outcome of another state."""
    folder = results / str(of)
    folder.mkdir(parents=True)
    (folder / "layers.json").write_text(json.dumps(found) if found else "")
    artifacts = describe([folder / "layers.json"]) if found else ()
    Outcome(
        stage="sensitivity",
        experiment=of,
        artifacts=artifacts,
        **{"state": "ok", **state},
    ).write(folder / "sensitivity.json")
    return of


@pytest.fixture
def collected(tmp_path):
    """Two precisions of a network, one of which failed, and another that was not traced."""
    experiments = [
        leave(tmp_path, experiment(), layers(3)),
        leave(tmp_path, experiment(precision="w1a8"), state="failed", error=synthetic.TIMEOUT),
        leave(tmp_path, experiment("mine"), state="skipped", skipped_by="import"),
    ]
    return sensitivity.collect(experiments, tmp_path)


def test_a_layer_has_a_row_in_the_networks_order(collected):
    rows = collected[collected["state"] == "ok"]
    assert rows["layer"].tolist() == ["conv2d_0", "conv2d_1", "conv2d_2"]
    assert rows["position"].tolist() == [0, 1, 2]
    assert rows["top1_agreement"].tolist() == [0.96] * 3
    assert rows["top1_accuracy"].isna().all()


def test_what_failed_has_a_row_that_says_so(collected):
    failed = collected[collected["layer"].isna()].set_index("model")
    assert failed.loc["digits", "failed_stage"] == "sensitivity"
    assert failed.loc["digits", "error"] == "relay.quantize.quantize: stopped after 1800 s"
    assert failed.loc["mine", "failed_stage"] == "import"
    assert failed.loc["mine", "error"] is pd.NA
    told = [tables.failed_line(row) for _, row in failed.reset_index().iterrows()]
    assert told == [
        "digits/relax/cpu/w1a8 failed@sensitivity: relay.quantize.quantize: stopped after 1800 s",
        "mine/relax/cpu/w2a8 failed@import",
    ]


def test_a_written_table_reads_back_the_same(collected, tmp_path):
    tables.write(collected, tmp_path / "sensitivity.csv")
    pd.testing.assert_frame_equal(sensitivity.read(tmp_path / "sensitivity.csv"), collected)


def test_layers_that_changed_since_are_the_users_to_mend(tmp_path):
    of = leave(tmp_path, experiment(), layers(3))
    (tmp_path / str(of) / "layers.json").write_text("[]")
    with pytest.raises(UserError, match=r"layers\.json is corrupt"):
        sensitivity.collect([of], tmp_path)


@pytest.mark.filterwarnings("error")
def test_every_layer_and_every_failure_is_shown(tmp_path):
    failure = Failure(kind="crash", type="SIGSEGV", message="ended by SIGSEGV")
    experiments = [
        leave(tmp_path, experiment("resnet50"), layers(54)),
        leave(tmp_path, experiment("resnet50", "w4a8"), layers(54)),
        leave(tmp_path, experiment("digits"), layers(3, output_sqnr_db=None)),
        leave(tmp_path, experiment("digits", "w4a8"), state="failed", error=failure),
        leave(tmp_path, experiment("mine"), state="skipped", skipped_by="import"),
    ]
    figure = draw(sensitivity.collect(experiments, tmp_path))
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.findobj(Text)]
    for told in ("resnet50", "digits", "mine", "w2a8", "w4a8"):
        assert told in texts
    assert {f"conv2d_{index}" for index in range(54)} <= set(texts)
    assert "✕  w4a8 failed@sensitivity" in texts
    assert "✕  w2a8 failed@import" in texts
    assert_texts_within(figure)
