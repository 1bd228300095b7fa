"""What Snakemake itself costs as the sweep grows: 10, 30 and 100 models at 8 precisions.

    python benchmarks/scale.py [MODELS ...]

Every script is replaced by one that leaves empty files (`stand_in.sh`), in a temporary directory.
Prints, for each number of models, the seconds of a dry run from nothing, of a whole run on all
cores, and of a run that has nothing left to do, with what these come to per job and experiment.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PRECISIONS = ["float32", "int8", "w4a8", "w3a8", "w2a8", "w1a8_ends8", "w1a8", "int4"]


def main(numbers: list[int]) -> None:
    print(f"{'models':>6} {'experiments':>11} {'jobs':>6} | seconds: {'dry run':>8} {'whole':>8} "
          f"{'no-op':>8} | whole, ms/job | per experiment, ms: dry run, no-op")  # fmt: skip
    for models in numbers:
        with tempfile.TemporaryDirectory() as directory:
            measure(models, Path(directory))


def measure(models: int, folder: Path) -> None:
    """Print the line of a sweep of so many models."""
    names = [f"model{number}" for number in range(models)]
    config = {
        "sweep": {"models": names, "engines": ["relax"], "precisions": PRECISIONS},
        "models": {name: {"factory": "resnet18"} for name in names},
        "sensitivity": {"precisions": []},
        "expect": [],
        "stand_in": str(ROOT / "benchmarks/stand_in.sh"),
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "requirements").symlink_to(ROOT / "requirements")
    dry, _ = seconds(folder, "--dry-run", "--quiet", "all")
    whole, said = seconds(folder, "--cores", "all", "--quiet", "rules", "reason")
    nothing, said_then = seconds(folder, "--cores", "all")
    if "Nothing to be done" not in said_then:
        sys.exit(f"a finished sweep of {models} models is not finished:\n{said_then[-2000:]}")
    jobs = said.count("Finished jobid")
    experiments = models * len(PRECISIONS)
    print(
        f"{models:>6} {experiments:>11} {jobs:>6} |          {dry:>8.1f} {whole:>8.1f} "
        f"{nothing:>8.1f} | {1000 * whole / jobs:>13.1f} | {1000 * dry / experiments:>27.1f}"
        f"{1000 * nothing / experiments:>7.1f}",
        flush=True,
    )


def seconds(folder: Path, *arguments: str) -> tuple[float, str]:
    """The wall-clock time of Snakemake in `folder`, and what it printed."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(folder / "sweep.yaml")]
    command += ["--workflow-profile", str(ROOT / "profiles/default")]
    start = time.monotonic()
    ended = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if ended.returncode:
        sys.exit(ended.stdout)
    return time.monotonic() - start, ended.stdout


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [10, 30, 100])
