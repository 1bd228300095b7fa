"""File systems that become full or read-only while Snakemake runs on them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.workflow.checkout import Checkout, Run, eventually, running

AMPLE_BYTES = 2**26
NO_SPACE = "No space left on device: {} is full; make room and run again"


class Disk:
    """A file system in memory; skips where none can be mounted."""

    def __init__(self, folder: Path):
        self.folder = folder
        ended = self._call("mount", "-t", "tmpfs", "tmpfs")
        if ended.returncode:
            pytest.skip(f"no file system can be mounted here: {ended.stderr.strip()}")

    def leave(self, free_bytes: int) -> None:
        """Let there be so much room."""
        used = int(self._call("df", "--block-size=1", "--output=used").stdout.split()[-1])
        self.remount(f"size={used + free_bytes}")

    def remount(self, options: str) -> None:
        """Change the options."""
        self._call("mount", "-o", f"remount,{options}").check_returncode()

    def unmount(self) -> None:
        """End it, and all that is in it."""
        self._call("umount").check_returncode()

    def _call(self, *command: str):
        return subprocess.run([*command, self.folder], capture_output=True, text=True, check=False)


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """Mount a file system on a folder, which is made or keeps its files, while the block runs."""
    files = folder.rename(folder.with_name("aside")) if folder.exists() else None
    folder.mkdir()
    disk = Disk(folder)
    try:
        if files:
            subprocess.run(["cp", "-a", f"{files}/.", folder], check=True)
        yield disk
    finally:
        disk.unmount()


def run_on_full(
    disk: Disk, free_bytes: int, checkout: Checkout, rule: str, target: str, *options: str, **how
) -> Run:
    """Force a job during which the disk has so little room; return how the run ended."""
    arguments = ("--forcerun", target, *options, "--", target)
    with running(checkout, *arguments, **how) as snakemake:
        script = eventually(lambda: checkout.script(rule), f"{rule} to begin")
        script.suspend()
        disk.leave(free_bytes)
        script.resume()
        return checkout.finish(snakemake)
