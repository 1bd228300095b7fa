"""Run one task of an engine in a child process, and tell its outcomes from errors of ours."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bitsweep
from bitsweep import child, storage
from bitsweep.artifact import staging_directory
from bitsweep.engines.declared import ENGINES
from bitsweep.engines.refusal import UNDER_WAY
from bitsweep.errors import UserError
from bitsweep.outcome import Failure

_SAYS_WHY = re.compile(
    r"LLVM ERROR|^error:|terminate called|what\(\):|Assertion .* failed|Fatal Python error"
)
_CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS"}


@dataclass(frozen=True)
class Engine:
    """An engine as the `engine` rule left it: its name, where its TVM lies, and its versions."""

    name: str
    python_path: tuple[str, ...]
    versions: Mapping[str, str | None]

    @classmethod
    def read(cls, path: Path | str) -> "Engine":
        """Read `engine.json`; raise `UserError` when its TVM is gone."""
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        missing = [entry for entry in record["python_path"] if not Path(entry).is_dir()]
        if missing:
            raise UserError(f"engine {record['engine']}: {missing[0]} is gone; delete {path}")
        return cls(record["engine"], tuple(record["python_path"]), record["versions"])


@dataclass(frozen=True)
class Ended:
    """A task that ended: with a failure, or None; peak memory of its largest process."""

    failure: Failure | None
    peak_rss_bytes: int


class Running:
    """`bitsweep.engines.{engine}.{task}` in a process whose tool is the engine's.

    `inputs` and `outputs` are paths by name; the outputs are to be written by the task. What it
    prints is added to `log` in the end, and lies in `folder` until then, or from the start, where
    `printed` is the log. It inherits the file descriptors `kept`.
    """

    def __init__(
        self,
        engine: Engine,
        task: str,
        *,
        inputs: Mapping[str, str | None],
        outputs: Mapping[str, str],
        settings: Mapping[str, Any],
        limits: child.Limits,
        threads: int,
        log: Path | str,
        folder: Path,
        printed: Path | None = None,
        kept: Sequence[int] = (),
    ):
        self.engine, self.task, self.limits, self.log = engine, task, limits, Path(log)
        self._printed = printed or folder / "printed"
        self._printed_before = self._printed.stat().st_size if self._printed.exists() else 0
        self._places = [self.log.parent, *(Path(path).parent for path in outputs.values())]
        request, self._reply, self._under_way = (
            folder / name for name in ("request", "reply", "under_way")
        )
        request.write_text(
            json.dumps(
                {
                    "engine": engine.name,
                    "task": task,
                    "inputs": dict(inputs),
                    "outputs": dict(outputs),
                    "settings": dict(settings),
                    "parent": os.getpid(),
                }
            ),
            encoding="utf-8",
        )
        self.child = child.Child(
            # -P: what lies in the working directory must not come before the engine's tool.
            [sys.executable, "-P", "-m", "bitsweep.engines.worker", str(request), str(self._reply)],
            environment=_environment(engine, threads, self._under_way),
            log=self._printed,
            limits=limits,
            kept=kept,
        )

    def wait(self) -> Ended:
        """Wait for its end.

        Raises `UserError` when the process failed for a reason that is neither the tool's nor a
        refusal: its own exception, an end of its own, a signal sent from outside, or a full file
        system.
        """
        ending = self.child.wait()
        under_way, reply = self._under_way, self._reply
        function = (under_way.exists() and under_way.read_text(encoding="utf-8")) or None
        with self._printed.open("rb") as file:
            file.seek(self._printed_before)
            printed = file.read().decode(errors="replace")
        replied = reply.read_text(encoding="utf-8") if reply.exists() else ""
        said = json.loads(replied) if replied else {}
        well = said and not said["refused"] and not said["broke"]
        if not well and (shortage := storage.shortage(self._places, told=printed + replied)):
            raise UserError(shortage)
        with self.log.open("a", encoding="utf-8") as file:
            if self._printed != self.log:
                file.write(printed)
            if said:
                print("seconds in TVM:", json.dumps(said["seconds_in_tvm"]), file=file)
        return Ended(self._failure(ending, said, function, printed), ending.peak_rss_bytes)

    def _failure(
        self, ending: child.Ending, said: Mapping[str, Any], function: str | None, printed: str
    ) -> Failure | None:
        what, log = f"{self.task} of engine {self.engine.name}", str(self.log)
        if said.get("broke"):
            raise UserError(f"{what} broke: {said['broke']}; see {log}")
        if said:
            return said["refused"] and _refusal(self.engine, said["refused"], printed, log)
        if ending.returncode == os.EX_IOERR:
            raise UserError(f"{what} could not write what it had to say")
        if ending.killed_for or ending.signal in _CRASHES or (function and not ending.signal):
            return _violent(ending, function, printed, self.limits, log)
        if ending.signal:
            raise UserError(
                f"{what} was killed from outside by {ending.signal} (out of the machine's memory, "
                f"or cancelled); see {log}"
            )
        raise UserError(
            f"{what} did not start, or ended outside TVM's functions with exit status "
            f"{ending.returncode}; see {log}"
        )


def run(
    engine: Engine,
    task: str,
    *,
    inputs: Mapping[str, str | None],
    outputs: Mapping[str, str],
    settings: Mapping[str, Any],
    limits: child.Limits,
    threads: int,
    log: Path | str,
) -> Ended:
    """Run a task to its end: see `Running`, and `Running.wait` for what is raised."""
    children: list[child.Child] = []
    with staging_directory(log) as folder, child.taken_along(children):
        running = Running(
            engine,
            task,
            inputs=inputs,
            outputs=outputs,
            settings=settings,
            limits=limits,
            threads=threads,
            log=log,
            folder=folder,
            printed=Path(log),
        )
        children.append(running.child)
        return running.wait()


def _environment(engine: Engine, threads: int, under_way: Path) -> dict[str, str]:
    library = Path(bitsweep.__file__).parents[1]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [*(str(Path(entry).resolve()) for entry in engine.python_path), str(library)]
        ),
        "PYTHONUNBUFFERED": "1",
        "TVM_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        UNDER_WAY: str(under_way),
    }


def _refusal(engine: Engine, refused: dict[str, Any], printed: str, log: str) -> Failure:
    kind, type_name, message = refused["kind"], refused["type"], refused["message"]
    if not refused["raised_by_tvm"]:
        return Failure(
            kind=kind, type=type_name, message=message, function=refused["function"], log=log
        )
    # What TVM's type checker finds wrong it prints before it raises.
    place = ENGINES[engine.name].place(printed, type_name)
    return Failure(
        kind=kind,
        type=type_name,
        message=place.message or message,
        function=place.function or refused["function"],
        file=place.file,
        line=place.line,
        log=log,
    )


def _violent(
    ending: child.Ending, function: str | None, printed: str, limits: child.Limits, log: str
) -> Failure:
    """Describe the failure of a child that could not report it itself."""
    limit = None
    if ending.killed_for == "timeout":
        limit = limits.seconds
        kind, type_name, message = "timeout", "Timeout", f"stopped after {limit:g} s"
    elif ending.killed_for == "memory":
        limit = limits.memory_bytes / 2**20
        kind, type_name, message = "memory", "MemoryLimit", f"stopped above {limit:.0f} MiB"
    else:
        # LLVM and the C++ runtime say why they abort on a line of their own.
        told = [line for line in printed.splitlines() if _SAYS_WHY.search(line)]
        kind, type_name = "crash", ending.signal or f"exit status {ending.returncode}"
        where = "" if function else " outside TVM's functions"
        message = told[-1].strip() if told else f"the process ended with {type_name}{where}"
    return Failure(
        kind=kind, type=type_name, message=message, function=function, log=log, limit=limit
    )
