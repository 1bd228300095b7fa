from pathlib import Path

import pytest

from bitsweep import outcome
from bitsweep.errors import UserError
from bitsweep.outcome import Experiment, Failure
from bitsweep.stage import Stage, Work

EXPERIMENT = Experiment(model="net", engine="relay", target="cpu", precision="int4")
FAILURE = Failure(kind="exception", type="InternalError", message="no")


def stage(folder, name, artifact):
    return Stage(
        name=name,
        experiment=EXPERIMENT,
        outcome=folder / f"{name}.json",
        artifacts={"out": str(folder / artifact)},
    )


def writing(text):
    def work(outputs):
        Path(outputs["out"]).write_text(text)
        return Work(peak_rss_bytes=7)

    return work


def test_artifacts_and_outcome_are_left(tmp_path):
    stage(tmp_path, "compile", "module.ll").run(writing("code"))
    left = outcome.read(tmp_path / "compile.json")
    assert (left.state, left.peak_rss_bytes) == ("ok", 7)
    assert left.artifacts[0].size_bytes == 4
    assert (tmp_path / "module.ll").read_text() == "code"
    assert {path.name for path in tmp_path.iterdir()} == {"compile.json", "module.ll"}


def test_a_failure_leaves_empty_artifacts_and_skips_what_follows(tmp_path):
    def refused(outputs):
        Path(outputs["out"]).write_text("half")
        return Work(FAILURE)

    (tmp_path / "module.ll").write_text("stale")
    stage(tmp_path, "compile", "module.ll").run(refused)
    assert outcome.read(tmp_path / "compile.json").error == FAILURE
    assert (tmp_path / "module.ll").read_bytes() == b""

    def never(outputs):
        raise AssertionError("a stage after a failed one must not work")

    export = stage(tmp_path, "export", "module.so")
    export.run(never, upstream=[tmp_path / "compile.json"], reads=[tmp_path / "module.ll"])
    benchmark = stage(tmp_path, "benchmark", "samples.csv")
    benchmark.run(never, upstream=[tmp_path / "export.json"])
    for name in ("export", "benchmark"):
        left = outcome.read(tmp_path / f"{name}.json")
        assert (left.state, left.skipped_by) == ("skipped", "compile")
    assert (tmp_path / "samples.csv").read_bytes() == b""


def test_a_corrupt_input_stops_the_stage_before_it_works(tmp_path):
    stage(tmp_path, "compile", "module.ll").run(writing("code"))
    (tmp_path / "module.ll").write_text("c0de")
    export = stage(tmp_path, "export", "module.so")
    with pytest.raises(UserError, match=r"module\.ll is corrupt"):
        export.run(
            writing("x"), upstream=[tmp_path / "compile.json"], reads=[tmp_path / "module.ll"]
        )
    assert not (tmp_path / "export.json").exists()


def test_an_error_of_ours_leaves_nothing(tmp_path):
    def broken(outputs):
        Path(outputs["out"]).write_text("half")
        raise KeyError("bug")

    with pytest.raises(KeyError):
        stage(tmp_path, "compile", "module.ll").run(broken)
    assert list(tmp_path.iterdir()) == []
