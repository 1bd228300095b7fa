"""Stages as rules declare them; objects with the rule's names stand for Snakemake's own."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bitsweep import outcome, rule_stage
from bitsweep.child import Limits
from bitsweep.engines import task
from bitsweep.errors import UserError
from bitsweep.outcome import Experiment, Failure, Outcome
from bitsweep.rule_stage import run

EXPERIMENT = {"model": "net", "engine": "relay", "target": "cpu", "precision": "int8"}
FAILURE = Failure(kind="timeout", type="Timeout", message="stopped after 1 s")


class Named(dict):
    """Named items, as attributes too."""

    __getattr__ = dict.__getitem__


class Rule:
    """A rule in a folder: its inputs and outputs lie there."""

    def __init__(self, folder, name="inspect"):
        self.folder, self.rule = folder, name
        self.wildcards = Named(EXPERIMENT)
        self.input = Named(
            upstream=[self.leave("export", "module.so")], module=self.path("module.so")
        )
        self.output = Named(outcome=self.path(f"{name}.json"), code=self.path("code.json"))
        self.params = Named(benchmark={"runs": 3})
        self.resources = SimpleNamespace(limit_seconds=7, limit_mb=3)
        self.threads, self.log = 2, [self.path("log")]

    def path(self, name):
        return str(self.folder / name)

    def leave(self, stage, artifact, state="ok"):
        """Leave an artifact and its stage's outcome, and return the outcome's path."""
        Path(self.path(artifact)).write_text(artifact if state == "ok" else "")
        Outcome(
            state=state,
            stage=stage,
            experiment=Experiment(**EXPERIMENT),
            artifacts=outcome.describe([self.path(artifact)]) if state == "ok" else (),
        ).write(self.path(f"{stage}.json"))
        return self.path(f"{stage}.json")

    def add_baseline(self, state):
        """Add the baseline's evidence to the inputs, left in the given state."""
        baseline = self.leave("baseline", "float32.json", state)
        self.input |= Named(baseline=self.path("float32.json"), baseline_outcome=baseline)

    def left(self):
        return outcome.read(self.output.outcome)


@pytest.fixture
def rule(tmp_path):
    return Rule(tmp_path)


def noting(seen):
    def finish(inputs, outputs):
        seen.append(inputs)
        Path(outputs["code"]).write_text("code")

    return finish


@pytest.mark.parametrize("state", ["ok", "failed", "skipped"])
def test_a_baseline_is_there_only_where_its_stage_was_ok(rule, state):
    rule.add_baseline(state)
    seen = []
    run(rule, finish=noting(seen))
    baseline = rule.path("float32.json") if state == "ok" else None
    assert seen == [{"module": rule.path("module.so"), "baseline": baseline}]
    assert rule.left().state == "ok"


def test_a_stage_without_a_baseline_hears_of_none(rule):
    seen = []
    run(rule, finish=noting(seen))
    assert seen == [{"module": rule.path("module.so")}]


@pytest.mark.parametrize("name", ["module.so", "float32.json"])
def test_an_artifact_that_changed_since_stops_the_stage(rule, name):
    rule.add_baseline("ok")
    Path(rule.path(name)).write_text("changed")
    with pytest.raises(UserError, match=f"{name} is corrupt"):
        run(rule, finish=noting([]))


def test_a_stage_whose_upstream_failed_is_skipped(rule):
    rule.input["upstream"] = rule.leave("compile", "module.so", "failed")
    seen = []
    run(rule, finish=noting(seen))
    assert (rule.left().state, rule.left().skipped_by, seen) == ("skipped", "compile", [])


@pytest.fixture
def asked(rule, monkeypatch):
    """An engine whose tasks are not run: what they were asked, and how each is to end."""
    rule.input["engine"] = rule.path("engine.json")
    engine = task.Engine("relay", (), {"tvm": "0.16"})
    monkeypatch.setattr(task.Engine, "read", lambda path: engine)
    asked = SimpleNamespace(tasks=[], ends=[])

    def task_run(engine, name, **how):
        asked.tasks.append((name, how))
        Path(how["outputs"]["code"]).write_text(name)
        return asked.ends[len(asked.tasks) - 1]

    monkeypatch.setattr(rule_stage.task, "run", task_run)
    monkeypatch.setattr(rule_stage.machine, "usable", lambda threads: threads - 1)
    return asked


def test_tasks_run_in_order_and_the_largest_is_recorded(rule, asked):
    asked.ends = [task.Ended(None, 50), task.Ended(None, 20)]
    run(rule, "link", "run_once")
    assert [name for name, _ in asked.tasks] == ["link", "run_once"]
    left = rule.left()
    assert (left.state, left.stage, left.peak_rss_bytes) == ("ok", "inspect", 50)
    assert left.experiment == Experiment(**EXPERIMENT)
    assert left.environment["tvm"] == "0.16"
    assert Path(rule.output.code).read_text() == "run_once"


def test_a_task_has_what_its_rule_declares(rule, asked):
    asked.ends = [task.Ended(None, 1)]
    run(rule, "link")
    ((_, how),) = asked.tasks
    staged = how["outputs"]["code"]
    assert staged != rule.output.code
    assert how == {
        "inputs": {"module": rule.path("module.so"), "code": staged},
        "outputs": {"code": staged},
        "settings": {"benchmark": {"runs": 3}},
        "limits": Limits(seconds=7, memory_bytes=3 * 2**20),
        "threads": 1,
        "log": rule.path("log"),
    }


def test_the_outcome_says_how_much_runs_in_integers(rule, asked):
    rule.output["coverage"] = rule.path("coverage.json")
    asked.ends = [task.Ended(None, 1)]

    def count(inputs, outputs):
        counts = {"macs": 8, "integer_macs": 6, "float_operators": {"nn.dense": 1}}
        Path(outputs["coverage"]).write_text(json.dumps(counts))

    run(rule, "quantize", finish=count)
    left = rule.left().coverage
    assert (left.macs, left.integer_macs, left.float_operators) == (8, 6, {"nn.dense": 1})


def test_after_a_failure_no_task_follows(rule, asked):
    asked.ends = [task.Ended(FAILURE, 5), task.Ended(None, 9)]
    run(rule, "link", "run_once", finish=noting(seen := []))
    left = rule.left()
    assert (left.state, left.error, left.peak_rss_bytes) == ("failed", FAILURE, 5)
    assert (len(asked.tasks), seen) == (1, [])
    assert Path(rule.output.code).read_bytes() == b""
