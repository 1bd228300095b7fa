"""Time modules in lockstep: each in a process of its own, of which one at a time is let run.

Two tools, or two builds of one, cannot share a process, and machines drift, so that only what is
timed in turn can be compared. All processes but one are stopped: threads that wait for work by
spinning would have a core else.
"""

import json
import os
import select
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bitsweep import child, measurement
from bitsweep.artifact import staging_directory
from bitsweep.engines.task import Ended, Engine, Running
from bitsweep.errors import UserError


class _Gone(Exception):
    """A module whose process has ended."""

    def __init__(self, name: str, module: "_Module"):
        super().__init__(name)
        self.name, self.module = name, module


class _Module:
    """A module in a process of its own, which is stopped but while it is asked for something."""

    def __init__(self, name: str, start) -> None:
        """Start the process: `start` takes the ends of the two pipes that it is to keep."""
        self._name = name
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        self.running: Running = start(channel=(commands, answers))
        os.close(commands)
        os.close(answers)
        self._unread, self._checked = b"", time.monotonic()

    def await_ready(self) -> None:
        """Wait until the module is loaded."""
        self._line()
        self._stop()

    def time(self, number: int, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input of that number."""
        self._check()
        self._signal(signal.SIGCONT)
        try:
            os.write(self._commands, f"{number} {runs}\n".encode())
        except BrokenPipeError:
            raise _Gone(self._name, self) from None
        milliseconds = json.loads(self._line())
        self._stop()
        return milliseconds

    def end(self) -> Ended:
        """Have the process end, and wait for it."""
        os.close(self._commands)
        self._signal(signal.SIGCONT)
        ended = self.running.wait()
        os.close(self._answers)
        return ended

    def _check(self) -> None:
        """Look at the limits now and then; answers may come too soon for `_line` to do so."""
        if time.monotonic() - self._checked > child.POLL_SECONDS:
            self.running.child.check()
            self._checked = time.monotonic()

    def _stop(self) -> None:
        self._signal(signal.SIGSTOP)
        became = os.WSTOPPED | os.WEXITED | os.WNOWAIT
        if os.waitid(os.P_PID, self.running.child.group, became).si_code != os.CLD_STOPPED:
            raise _Gone(self._name, self)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.running.child.group, number)
        except ProcessLookupError:
            raise _Gone(self._name, self) from None

    def _line(self) -> bytes:
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], child.POLL_SECONDS)
            if not ready:
                self.running.child.check()
                continue
            part = os.read(self._answers, 2**16)
            if not part:
                raise _Gone(self._name, self)
            self._unread += part
        line, _, self._unread = self._unread.partition(b"\n")
        return line


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
    reference: Engine | None = None,
) -> Ended:
    """Measure `module` of `inputs` beside `baseline` and `untuned_module`, of the same engine, and
    `reference_module`, of the engine `reference`.

    Any of these may be None. Each process runs the engine's `task`, to which `running.serve` is
    given; `outputs["samples"]` is what `measurement.measure` writes. A process that fails is a
    failure of the measurement, whichever module it has. Raises what `Running.wait` does.
    """
    paths = {
        "candidate": (engine, inputs["module"]),
        "baseline": (engine, inputs.get("baseline")),
        "reference": (reference, inputs.get("reference_module")),
        "untuned": (engine, inputs.get("untuned_module")),
    }
    children: list[child.Child] = []
    with staging_directory(log) as folder, child.taken_along(children):
        modules = {}
        for name, (its_engine, path) in paths.items():
            if its_engine and path:
                start = partial(_start, its_engine, task, path, folder / name)
                start = partial(start, settings=settings, limits=limits, threads=threads, log=log)
                modules[name] = _Module(name, start)
                children.append(modules[name].running.child)
        try:
            for module in modules.values():
                module.await_ready()
            measurement.measure(
                modules,
                settings["benchmark"],
                outputs["samples"],
                processes=[process.group for process in children],
            )
            ended = [module.end() for module in modules.values()]
        except _Gone as gone:
            ended = [gone.module.running.wait()]
            if (failure := ended[0].failure) is None:
                raise UserError(f"the process of the {gone.name} ended early; see {log}") from None
            if gone.name != "candidate":
                failure = failure.model_copy(
                    update={"message": f"of the {gone.name}: {failure.message}"}
                )
            return Ended(failure, ended[0].peak_rss_bytes)
    failure = next((one.failure for one in ended if one.failure), None)
    return Ended(failure, max(one.peak_rss_bytes for one in ended))


def _start(
    engine: Engine,
    task: str,
    module: str,
    folder: Path,
    *,
    settings: Mapping[str, Any],
    channel: tuple[int, int],
    **how,
) -> Running:
    folder.mkdir()
    return Running(
        engine,
        task,
        inputs={"module": module},
        outputs={},
        settings={**settings, "channel": channel},
        folder=folder,
        kept=channel,
        **how,
    )
