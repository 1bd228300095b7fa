"""Run a command in a child process within time and memory limits, and tell how it ended."""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

# A look at the memory reads of every process of the machine: more often, it would cost as much as a
# tenth of a core, beside each benchmark too. How a child ends is heard of sooner.
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Limits:
    """What a child may use: wall-clock seconds, and bytes of memory of all its processes."""

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class Ending:
    """How a child ended; `killed_for` names the limit for which it was killed here."""

    returncode: int
    seconds: float
    peak_rss_bytes: int
    killed_for: Literal["timeout", "memory"] | None

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended the child, or None."""
        return signal.Signals(-self.returncode).name if self.returncode < 0 else None


class Child:
    """A command that runs in a child process within limits, its output appended to `log`.

    The child leads a process group of its own, which is killed as a whole: at a limit, when this
    process is interrupted or its parent is gone, and for what the child left running. It inherits
    the file descriptors `kept`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        limits: Limits,
        kept: Sequence[int] = (),
    ):
        self._limits, self._start, self._parent = limits, time.monotonic(), os.getppid()
        self._killed_for: Literal["timeout", "memory"] | None = None
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=kept,
            )

    @property
    def group(self) -> int:
        """The number of the child, and of its process group."""
        return self._process.pid

    def check(self) -> None:
        """Kill the child where it is beyond a limit.

        Raises `SystemExit` where nobody waits for this process any more.
        """
        # A killed Snakemake leaves its jobs running: what they would write, a new one does.
        if os.getppid() != self._parent:
            raise SystemExit("the parent process is gone")
        if time.monotonic() - self._start > self._limits.seconds:
            self._killed_for = "timeout"
        elif _memory_exceeds(self.group, self._limits.memory_bytes):
            self._killed_for = "memory"
        if self._killed_for:
            self.kill()

    def wait(self) -> Ending:
        """Wait for the child's end, at a limit at the latest, and tell how it ended."""
        while self._process.poll() is None:
            self.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
        seconds = time.monotonic() - self._start
        self.kill()
        return Ending(
            returncode=self._process.returncode,
            seconds=seconds,
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            killed_for=self._killed_for,
        )

    def kill(self) -> None:
        """Kill the child and all that it left running."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.group, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def taken_along(children: list[Child]) -> Iterator[None]:
    """Kill the children, which may be added within, however the block ends.

    SIGTERM, by which clusters cancel, ends it too.
    """
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        for child in children:
            child.kill()
        signal.signal(signal.SIGTERM, previous)


def run(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, limits: Limits
) -> Ending:
    """Run `command` as a `Child` to its end.

    `peak_rss_bytes` is that of the largest single process, the memory limit that of all together
    (proportional set size, so that pages shared by forked workers count once).
    """
    children: list[Child] = []
    with taken_along(children):
        children.append(Child(command, environment=environment, log=log, limits=limits))
        return children[0].wait()


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _memory_exceeds(pid: int, limit: int) -> bool:
    try:
        leader = psutil.Process(pid)
        processes = [leader, *leader.children(recursive=True)]
        # Resident sizes are cheap to read and never less than the proportional ones.
        if _total(processes, "rss", psutil.Process.memory_info) <= limit:
            return False
        return _total(processes, "pss", psutil.Process.memory_full_info) > limit
    except psutil.Error:
        return False


def _total(processes, field, measure) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += getattr(measure(process), field)
    return total
