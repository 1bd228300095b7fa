"""Go on with a sweep on Slurm whose Snakemake is gone: `python profiles/slurm/resume.py [TARGET …]`

A killed Snakemake leaves its jobs in Slurm. A new one would submit each a second time, beside the
first, so those of this folder are cancelled before. Arguments are handed on to Snakemake.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

PROFILE = Path(__file__).parent
PATIENCE_SECONDS = 300


def main(arguments: list[str]) -> None:
    """Cancel what is left, unlock the folder, and become Snakemake."""
    folder = Path.cwd().resolve()
    if controller := living(folder):
        sys.exit(
            f"Error: Snakemake is at work in this folder (process {controller}); stop it first"
        )
    cancel(folder)
    snakemake = [sys.executable, "-m", "snakemake", "--workflow-profile", str(PROFILE)]
    subprocess.run([*snakemake, "--unlock"], check=True)
    os.execv(sys.executable, [*snakemake, *arguments])


def living(folder: Path) -> int | None:
    """The process of a Snakemake on this machine that controls a run in `folder`, not of a job."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command, cwd = process.info["cmdline"] or [], process.info["cwd"]
        is_snakemake = "snakemake" in (Path(word).name for word in command[:3])
        if is_snakemake and "--mode" not in command and cwd == str(folder):
            return process.pid
    return None


def cancel(folder: Path) -> None:
    """Cancel the jobs that a Snakemake in `folder` submitted, and wait until they are gone."""
    left = orphans(folder)
    if left:
        print(f"cancelling {len(left)} jobs: {' '.join(left)}", flush=True)
        subprocess.run(["scancel", *left], check=True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := orphans(folder):
        if time.monotonic() > deadline:
            sys.exit(f"Error: cancelled jobs are still in Slurm: {' '.join(left)}")
        time.sleep(1)


def orphans(folder: Path) -> list[str]:
    """The numbers of jobs in Slurm, pending, running or ending, submitted from `folder`."""
    listed = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i|%j|%Z"], stdout=subprocess.PIPE, text=True
    )
    if listed.returncode:
        sys.exit("Error: squeue failed, so nobody knows which jobs are left; try again later")
    jobs = (line.split("|", 2) for line in listed.stdout.splitlines())
    return [
        number
        for number, name, submitted_from in jobs
        if name.startswith("bitsweep_") and Path(submitted_from).resolve() == folder
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
