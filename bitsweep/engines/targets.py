"""Whether LLVM knows the targets of a config, before any job runs."""

import difflib
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bitsweep import child, machine
from bitsweep.artifact import write_text
from bitsweep.config import Config, Target
from bitsweep.engines import task
from bitsweep.engines.declared import ENGINES
from bitsweep.errors import UserError

_LIMITS = child.Limits(seconds=120, memory_bytes=4 * 2**30)
_IN_THE_ENVIRONMENT = "relax"  # whose TVM is there before the rule `engine` has run


def check(config: Config, engines: Path | str = ".engines") -> None:
    """Raise `UserError` for a triple, CPU or attribute that the LLVM of an engine does not know.

    Each question is asked once and its answer kept beside the engine's record. What is `native` is
    not asked. For an engine that is yet to be installed, the one in the environment answers.
    """
    mistakes: dict[str, None] = {}  # a set in order
    for name in config.sweep.targets:
        question = _question(config.targets[name])
        compiling = [engine for engine in config.sweep.engines if ENGINES[engine].uses_llvm]
        for engine in compiling if question else ():
            answer = _answer(_engine(engine, config, Path(engines)), question, Path(engines))
            for mistake in _mistakes(answer, question) if answer else ():
                mistakes[f"targets.{name}.{mistake}"] = None
    if mistakes:
        raise UserError("config: " + "; ".join(mistakes))


def _question(target: Target) -> dict | None:
    if (target.triple, target.cpu, target.attributes) == ("native", "native", ()):
        return None
    return {
        "triple": machine.native_triple() if target.triple == "native" else target.triple,
        "cpu": "generic" if target.cpu == "native" else target.cpu,
        "attributes": list(target.attributes),
    }


def _engine(name: str, config: Config, engines: Path) -> task.Engine:
    with suppress(OSError, ValueError, KeyError, UserError):
        return task.Engine.read(engines / name / "engine.json")
    own = config.engines.get(name)
    if own and own.python_path:
        return task.Engine(name, (own.python_path,), {})
    return task.Engine(_IN_THE_ENVIRONMENT, (), _environment())


def _environment() -> dict[str, str | None]:
    try:
        return {"tvm": version("apache-tvm")}
    except PackageNotFoundError:
        return {}


def _answer(engine: task.Engine, question: Mapping, engines: Path) -> dict | None:
    """What LLVM says, from the answers kept or asked now; None where it cannot be asked."""
    path = engines / engine.name / "targets.json"
    of = {"python_path": list(engine.python_path), "versions": dict(engine.versions)}
    kept = {}
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_text(encoding="utf-8"))
    if kept.get("engine") != of:
        kept = {"engine": of, "answers": {}}
    key = json.dumps(question)
    if key not in kept["answers"]:
        answer = _asked(engine, question)
        if answer is None:
            return None
        kept["answers"][key] = answer
        with suppress(OSError):  # then it is asked again
            write_text(path, json.dumps(kept, indent=2) + "\n")
    return kept["answers"][key]


def _asked(engine: task.Engine, question: Mapping) -> dict | None:
    with tempfile.TemporaryDirectory() as directory:
        answer = Path(directory) / "answer"
        try:
            ended = task.run(
                engine,
                "describe_target",
                inputs={},
                outputs={"answer": str(answer)},
                settings=question,
                limits=_LIMITS,
                threads=1,
                log=Path(directory) / "log",
            )
        except UserError:
            return None
        if ended.failure and ended.failure.kind in ("timeout", "memory"):
            return None
        return json.loads(answer.read_text()) if answer.exists() else None


def _mistakes(answer: Mapping, question: Mapping) -> list[str]:
    """What of the question LLVM does not know, with what is near it."""
    if "cpus" not in answer:
        known = ", ".join(answer["architectures"])
        return [f"triple = {question['triple']!r} is unknown to LLVM; it compiles for {known}"]
    triple, cpu = question["triple"], question["cpu"]
    if cpu not in answer["cpus"]:
        return [f"cpu = {cpu!r} is unknown to LLVM for {triple}{_near(cpu, answer['cpus'])}"]
    return [
        f"attributes = {attribute!r} is unknown to LLVM for {triple}"
        + _near(attribute, [attribute[0] + feature for feature in answer["features"]])
        for attribute in answer["unknown"]
    ]


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 3)
    return f"; near it: {', '.join(near)}" if near else ""
