import pytest

from bitsweep import outcome
from bitsweep.errors import UserError
from bitsweep.outcome import Experiment, Failure, Outcome

EXPERIMENT = Experiment(model="net", engine="relay", target="cpu", precision="int4")


def test_an_outcome_survives_its_file(tmp_path):
    written = Outcome(
        state="failed",
        stage="compile",
        experiment=EXPERIMENT,
        seconds=1.5,
        peak_rss_bytes=10,
        error=Failure(
            kind="exception", type="InternalError", message="Check failed", file="a.cc", line=1
        ),
        environment={"tvm": "0.16"},
    )
    written.write(tmp_path / "compile.json")
    assert outcome.read(tmp_path / "compile.json") == written


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "ok"}', '{"state": "perhaps"}'])
def test_what_is_no_outcome_is_named(tmp_path, text):
    path = tmp_path / "compile.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"compile\.json is not an outcome"):
        outcome.read(path)


def test_the_failed_stage_is_this_one_or_the_one_that_made_it_skip():
    def of(state, **fields):
        return Outcome(state=state, stage="export", experiment=EXPERIMENT, **fields).failed_stage

    assert of("ok") is None
    assert of("failed") == "export"
    assert of("skipped", skipped_by="quantize") == "quantize"


def test_verify_notices_a_changed_byte_and_an_unknown_file(tmp_path):
    path = tmp_path / "objects.tar"
    path.write_bytes(b"abc")
    recorded = Outcome(
        state="ok", stage="compile", experiment=EXPERIMENT, artifacts=outcome.describe([path])
    )
    outcome.verify([recorded], [path])
    path.write_bytes(b"abd")
    with pytest.raises(UserError, match=r"objects\.tar is corrupt"):
        outcome.verify([recorded], [path])
    with pytest.raises(UserError, match="recorded in no outcome"):
        outcome.verify([recorded], [tmp_path / "other"])
