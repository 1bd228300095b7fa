"""Run a command in a child process within time and memory limits, and tell how it ended."""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

# A look at the memory reads of every process of the machine: more often, it would cost as much as a
# tenth of a core, beside each benchmark too. How a child ends is heard of sooner.
_POLL_SECONDS = 0.25


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


def run(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, limits: Limits
) -> Ending:
    """Run `command` with its output appended to `log`, and wait for it.

    The child leads a process group of its own, which is killed as a whole: at a limit, when this
    process is interrupted or its parent is gone, and for what the child left running.
    `peak_rss_bytes` is that of the largest single process, the memory limit that of all together
    (proportional set size, so that pages shared by forked workers count once).
    """
    start = time.monotonic()
    parent = os.getppid()
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    killed_for: Literal["timeout", "memory"] | None = None
    # SIGTERM is how clusters cancel: it must take the child along.
    previous = signal.signal(signal.SIGTERM, _exit)
    try:
        while process.poll() is None:
            # A killed Snakemake leaves its jobs running: what they would write, a new one does.
            if os.getppid() != parent:
                raise SystemExit("the parent process is gone")
            if time.monotonic() - start > limits.seconds:
                killed_for = "timeout"
            elif _memory_exceeds(process.pid, limits.memory_bytes):
                killed_for = "memory"
            if killed_for:
                _kill_group(process.pid)
                process.wait()
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
    finally:
        _kill_group(process.pid)
        process.wait()
        signal.signal(signal.SIGTERM, previous)
    return Ending(
        returncode=process.returncode,
        seconds=time.monotonic() - start,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        killed_for=killed_for,
    )


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


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
