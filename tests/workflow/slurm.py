"""A real Slurm of one node, and checkouts whose jobs run in it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.workflow.checkout import ROOT, Checkout

PLUGINS = Path(sys.prefix, "slurm")
"""Snakemake's executors for Slurm, which `make` lays apart from all else."""

_SUPPORT = ROOT / "tests" / "slurm"
_SCRIPT = _SUPPORT / "cluster.sh"
_CONFIGURATION = Path("/etc/slurm/slurm.conf")
# Longer than any session of tests, so that none of its jobs is forgotten.
_REMEMBERED_SECONDS = 86400


@dataclass(frozen=True)
class OnSlurm(Checkout):
    """A checkout whose Snakemake runs with the profile for Slurm."""

    # A node of one machine has jobs in its queue at once.
    options: tuple[str, ...] = (
        *("--workflow-profile", "profiles/slurm"),
        *("--slurm-init-seconds-before-status-checks", "2"),
    )

    def start(self, *arguments: str, config: dict | None = None, **environment: str):
        """Start Snakemake as a checkout does, asking of its jobs as often as its profile allows."""
        places = [str(_SUPPORT), str(PLUGINS), os.environ.get("PYTHONPATH")]
        path = os.pathsep.join(filter(None, places))
        return super().start(*arguments, config=config, PYTHONPATH=path, **environment)

    def jobs(self) -> list["Job"]:
        """Return this checkout's jobs in Slurm, in the order of their submission."""
        return [job for job in jobs() if job.folder == self.folder]


@dataclass(frozen=True)
class Job:
    """A job of Slurm; `run` is its name, which tells the Snakemake that submitted it."""

    number: int
    state: str
    run: str
    comment: str
    start: datetime | None
    end: datetime | None
    minutes: str
    memory: str
    folder: Path


def jobs() -> list[Job]:
    """Return every job that Slurm knows, in the order of submission."""
    listed = _said("squeue", "--noheader", "--states=all", "--format=%i|%T|%j|%k|%S|%e|%l|%m|%Z")
    rows = (line.split("|", 8) for line in listed.splitlines())
    return sorted(
        (
            Job(
                int(number), state, run, comment, _time(start), _time(end), minutes, memory, Path(z)
            )
            for number, state, run, comment, start, end, minutes, memory, z in rows
        ),
        key=lambda job: job.number,
    )


def submit(command: str, *options: str) -> int:
    """Submit a job that runs a command of the shell; return its number."""
    return int(_said("sbatch", "--parsable", "--output=/dev/null", *options, "--wrap", command))


def cancel(*numbers: int) -> None:
    """Cancel jobs, all where none is named."""
    _said("scancel", *(map(str, numbers) if numbers else ("--user", "root")))


def rename(number: int, name: str) -> None:
    """Give a job another name."""
    _said("scontrol", "update", f"JobId={number}", f"JobName={name}")


@dataclass(frozen=True)
class Cluster:
    """A Slurm that runs in `folder`."""

    folder: Path

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Stop Slurm's controller for as long as the block takes."""
        _said(_SCRIPT, "outage-begin", self.folder)
        try:
            yield
        finally:
            _said(_SCRIPT, "outage-end", self.folder)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Run a Slurm; skip, saying what is missing, where none can be run."""
    if os.geteuid() != 0:
        pytest.skip("a Slurm to test with is started by root only")
    if _CONFIGURATION.exists():
        pytest.skip(f"{_CONFIGURATION} exists: this machine has a Slurm of its own")
    installed = subprocess.run([_SCRIPT, "install"], capture_output=True, text=True)
    if installed.returncode:
        reason = installed.stderr.strip().splitlines()[-1:]
        pytest.skip(f"Slurm's packages cannot be installed: {' '.join(reason)}")
    # Slurm's sockets lie there, and a socket's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    # However these tests end, the pipe is closed then.
    end = 'cat; "$0" stop "$1" && rm -r "$1"'
    stopper = subprocess.Popen(
        ["bash", "-c", end, _SCRIPT, folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        _said(_SCRIPT, "start", folder)
        with (folder / "slurm.conf").open("a") as configuration:
            configuration.write(f"MinJobAge={_REMEMBERED_SECONDS}\n")
        _said("scontrol", "reconfigure")
        yield Cluster(folder)
    finally:
        stopper.communicate()
        assert stopper.returncode == 0


def _said(*command) -> str:
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, f"{command}: {ended.stderr}"
    return ended.stdout


def _time(text: str) -> datetime | None:
    return None if text in ("N/A", "NONE") else datetime.fromisoformat(text)
