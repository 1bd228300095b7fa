"""A copy of this repository in which Snakemake runs for real."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import yaml

from bitsweep.outcome import Outcome, read

ROOT = Path(__file__).parents[2]
ENGINES = {name: ROOT / ".engines" / name / "site" for name in ("relay", "onnxruntime", "openvino")}
ENGINE = ENGINES["relay"]
CORES = 2
DIGITS = {"sweep": {"models": ["digits"]}}
PATIENCE_SECONDS = 300

_NOT_SOURCES = shutil.ignore_patterns(
    ".*", "__pycache__", "results", "report.html", "docs", "benchmarks"
)


@dataclass(frozen=True)
class Run:
    """A Snakemake that ended: its exit status and what it printed."""

    returncode: int
    output: str

    def errors(self) -> list[str]:
        """Return the sentences that scripts told the terminal."""
        return [line for line in self.output.splitlines() if line.startswith("Error: ")]


@dataclass(frozen=True)
class Checkout:
    """The folder of a copy; `config/test.yaml` holds in it, and what a test lays over it.

    `program` is what Python runs there, with `options` that hold for every run.
    """

    folder: Path
    program: tuple[str, ...] = ("-m", "snakemake")
    options: tuple[str, ...] = ("--cores", str(CORES))

    @classmethod
    def of_the_repository(cls, folder: Path) -> "Checkout":
        """Copy the sources; fail, naming the remedy, where an engine is not laid out."""
        for name, site in ENGINES.items():
            if not site.is_dir():
                pytest.fail(
                    f"an engine is missing: `snakemake --cores 1 -- .engines/{name}/engine.json`"
                )
        try:
            listed = subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        except (FileNotFoundError, subprocess.CalledProcessError):
            shutil.copytree(ROOT, folder, ignore=_NOT_SOURCES)
            return cls(folder)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        return cls(folder)

    def copy(self, folder: Path, *, without: tuple[str, ...] = ()) -> "Checkout":
        """Copy the folder, results and Snakemake's records too, all times kept."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(*without))
        return replace(self, folder=folder)

    def path(self, name: str) -> Path:
        """Return the absolute path of a file of this copy."""
        return self.folder / name

    def outcome(self, name: str) -> Outcome:
        """Read an outcome below `results`."""
        return read(self.folder / "results" / f"{name}.json")

    def start(
        self,
        *arguments: str,
        config: dict | None = None,
        python: str = sys.executable,
        **environment: str,
    ):
        """Start Snakemake, leader of a process group, with `config` laid over `config/test.yaml`.

        Its output goes to the file `terminal`.
        """
        engines = {name: {"python_path": str(site)} for name, site in ENGINES.items()}
        laid_over = {"engines": engines, **(config or {})}
        self.path("laid over.yaml").write_text(yaml.safe_dump(laid_over), encoding="utf-8")
        command = [python, *self.program]
        command += ["--configfile", "config/test.yaml", "laid over.yaml", *self.options]
        with self.path("terminal").open("wb") as terminal:
            return subprocess.Popen(
                [*command, *arguments],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_hear_interrupts,
            )

    def finish(self, process: subprocess.Popen) -> Run:
        """Wait for a Snakemake that was started."""
        returncode = process.wait()
        return Run(returncode, self.path("terminal").read_text(encoding="utf-8"))

    def run(self, *arguments: str, config: dict | None = None, **more) -> Run:
        """Run Snakemake as `start` does, and wait for it."""
        return self.finish(self.start(*arguments, config=config, **more))

    def done(self, *arguments: str, config: dict | None = None, **more) -> Run:
        """Run Snakemake, which is to succeed."""
        ended = self.run(*arguments, config=config, **more)
        assert ended.returncode == 0, ended.output
        return ended

    def stale(self, *arguments: str, config: dict | None = None, **environment: str) -> set[str]:
        """Return the jobs that Snakemake would run, as `rule folder`, such as `quantize digits/…`.

        `arguments` are options and then, after `--`, targets.
        """
        summary = self.done("--summary", *arguments, config=config, **environment).output
        header, *rows = summary[summary.index("output_file\t") :].splitlines()
        columns = header.split("\t")
        files = [dict(zip(columns, row.split("\t"), strict=True)) for row in rows if "\t" in row]
        return {
            f"{file['rule']} {Path(file['output_file'].removeprefix('results/')).parent}"
            for file in files
            if file["plan"] != "no update"
        }

    def processes(self) -> list[psutil.Process]:
        """Return the processes that work in this folder."""
        found = []
        for process in psutil.process_iter(["cwd", "status"]):
            if process.info["status"] != psutil.STATUS_ZOMBIE and process.info["cwd"] == str(
                self.folder.resolve()
            ):
                found.append(process)
        return found

    def worker(self) -> psutil.Process | None:
        """Return the TVM process at work, if there is one."""
        return self._process(lambda command: "bitsweep.engines.worker" in command)

    def script(self, rule: str) -> psutil.Process | None:
        """Return the process of a rule's script, if there is one."""
        return self._process(lambda command: command[-1:] and command[-1].endswith(f".{rule}.py"))

    def _process(self, has: Callable[[list[str]], object]) -> psutil.Process | None:
        for process in self.processes():
            try:
                if has(process.cmdline()):
                    return process
            except psutil.NoSuchProcess:
                continue
        return None


def _hear_interrupts() -> None:
    """Undo what a shell does to jobs in its background, and with them these tests."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def eventually(condition: Callable[[], object], what: str):
    """Return the first true value of `condition`; fail after a long time without one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS} s for {what}")
        time.sleep(0.02)
    return value


@contextmanager
def running(checkout: Checkout, *arguments: str, **how):
    """Yield a Snakemake at work, killed with all that it started when the block ends."""
    process = checkout.start(*arguments, **how)
    try:
        yield process
    finally:
        for left in checkout.processes():
            left.send_signal(signal.SIGKILL)
        process.wait()
