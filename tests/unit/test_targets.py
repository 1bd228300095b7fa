"""LLVM's own answers on targets, of the engines that are there."""

import json
import shutil

import pytest

from bitsweep import config
from bitsweep.engines import targets, task
from bitsweep.errors import UserError
from tests.unit import relay


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A folder of engines in which Relay is installed; each question is asked once in it."""
    engines = tmp_path_factory.mktemp("engines")
    (engines / "relay").mkdir()
    record = json.loads(relay.RECORD.read_text())
    record["python_path"] = list(relay.engine().python_path)
    (engines / "relay/engine.json").write_text(json.dumps(record))
    return engines


def check(engines, target, swept=("relay", "relax")):
    raw = {
        "sweep": {"models": ["m"], "engines": list(swept), "precisions": ["float32"]},
        "models": {"m": {"factory": "resnet18"}},
        "targets": {"cpu": target},
    }
    targets.check(config.load(raw), engines)


@pytest.mark.parametrize(
    "target",
    [
        {"cpu": "skylake-avx512", "attributes": ["+avx512vnni", "-avx2"]},
        {"triple": "aarch64-linux-gnu", "cpu": "cortex-a72"},
        {"cpu": "generic"},
    ],
)
def test_what_llvm_knows_is_let_through(asked, target):
    check(asked, target)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ({"cpu": "skylke"}, "targets.cpu.cpu = 'skylke' is unknown to LLVM for x86_64"),
        ({"cpu": "skylke"}, "near it: skylake"),
        (
            {"attributes": ["+avx2", "+avx999"]},
            "targets.cpu.attributes = '+avx999' is unknown to LLVM for x86_64",
        ),
        ({"triple": "foo-bar"}, "targets.cpu.triple = 'foo-bar' is unknown to LLVM; it compiles"),
        ({"triple": "aarch64-linux-gnu", "cpu": "skylake"}, "unknown to LLVM for aarch64"),
    ],
)
@pytest.mark.parametrize("engine", ["relay", "relax"])
def test_what_llvm_does_not_know_is_told_in_a_sentence(asked, engine, target, told):
    with pytest.raises(UserError) as caught:
        check(asked, target, [engine])
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cpu_that_one_engine_lacks_is_refused_for_that_engine(asked):
    check(asked, {"cpu": "diamondrapids"}, ["relax"])
    with pytest.raises(UserError, match="cpu = 'diamondrapids' is unknown to LLVM"):
        check(asked, {"cpu": "diamondrapids"})


def test_the_environments_tvm_answers_for_an_engine_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="skylke"):
        check(tmp_path / "engines", {"cpu": "skylke"}, ["relay"])


def test_nothing_is_asked_of_native_targets(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "run", lambda *_, **__: pytest.fail("asked"))
    check(tmp_path, {})


def test_an_answer_is_kept_until_the_engine_changes(asked, tmp_path, monkeypatch):
    check(asked, {"cpu": "generic"})
    engines = shutil.copytree(asked, tmp_path / "engines")
    asking = []
    run = task.run
    monkeypatch.setattr(task, "run", lambda e, *a, **k: asking.append(e.name) or run(e, *a, **k))
    check(engines, {"cpu": "generic"})
    assert asking == []
    record = json.loads((engines / "relay/engine.json").read_text())
    record["versions"]["llvm"] = "16"
    (engines / "relay/engine.json").write_text(json.dumps(record))
    check(engines, {"cpu": "generic"})
    assert asking == ["relay"]


def test_an_engine_that_cannot_be_asked_refuses_nothing(tmp_path):
    (tmp_path / "relay").mkdir()
    (tmp_path / "tvm").mkdir()
    (tmp_path / "tvm/__init__.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "relay/targets.json").write_text("not JSON")
    record = {"engine": "relay", "python_path": [str(tmp_path)], "versions": {}}
    (tmp_path / "relay/engine.json").write_text(json.dumps(record))
    check(tmp_path, {"cpu": "skylke"}, ["relay"])
