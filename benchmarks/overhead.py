"""What the workflow costs over the TVM calls themselves, per experiment.

    python benchmarks/overhead.py [--configfile FILE] [MODEL [ENGINE ...]]

Runs a model (digits) at float32 and int8 in the engines (both), from nothing, one job at a time, in
a temporary directory, by the default configuration or with a file over it. Prints for each engine
and stage the seconds of its jobs as Snakemake records them (process starts, imports, hashing,
checks and all), the seconds that they spent inside TVM's functions, and the difference.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGINES = ("relay", "relax")
PRECISIONS = ("float32", "int8")
STAGES = ("quantize", "compile", "export", "benchmark", "evaluate", "inspect")
# What others may write to meanwhile, or what is not needed.
_NOT_SOURCES = shutil.ignore_patterns(
    *(".*", "__pycache__", "results", "docs"),
)
_SPENT = re.compile(r"^seconds in TVM: (\{.*\})$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--configfile", type=Path)
    parser.add_argument("model", nargs="?", default="digits")
    parser.add_argument("engines", nargs="*", metavar="engine", default=ENGINES)
    run(**vars(parser.parse_args()))


def run(model: str, engines: Sequence[str], configfile: Path | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        sweep = Path(directory) / "sweep"
        shutil.copytree(ROOT, sweep, ignore=_NOT_SOURCES)
        installed = {
            site.parent.name: {"python_path": str(site)} for site in ROOT.glob(".engines/*/site")
        }
        subprocess.run(
            [
                *(sys.executable, "-m", "snakemake", "--cores", "1", "--quiet", "all"),
                *(("--configfile", configfile.resolve()) if configfile else ()),
                *("--config", f"engines={json.dumps(installed)}", "--"),
                *(
                    f"results/{model}/{engine}/cpu/{precision}/{last}.json"
                    for engine in engines
                    for precision in PRECISIONS
                    for last in ("benchmark", "evaluate", "inspect")
                ),
            ],
            cwd=sweep,
            check=True,
        )
        for engine in engines:
            report(sweep, model, engine)


def report(sweep: Path, model: str, engine: str) -> None:
    """Print the table of a model and an engine for a finished run in the directory `sweep`."""
    wall, tvm = defaultdict(list), defaultdict(list)
    for outcome in sorted(sweep.glob(f"results/{model}/{engine}/cpu/*/*.json")):
        if outcome.stem not in STAGES:
            continue
        record = _metadata(sweep, outcome)
        wall[outcome.stem].append(record["endtime"] - record["starttime"])
        log = sweep / "results/logs" / outcome.relative_to(sweep / "results").with_suffix(".log")
        spent = _SPENT.findall(log.read_text(errors="replace"))
        tvm[outcome.stem].append(sum(sum(json.loads(text).values()) for text in spent))
    print(f"mean seconds per experiment, {engine}")
    print(f"{'stage':<10} {'job':>8} {'in TVM':>8} {'own':>8}")
    means = {s: [sum(v[s]) / len(v[s]) for v in (wall, tvm)] for s in STAGES}
    means["all"] = [sum(column) for column in zip(*means.values(), strict=True)]
    for stage, (job, inside) in means.items():
        print(f"{stage:<10} {job:8.2f} {inside:8.2f} {job - inside:8.2f}")


def _metadata(sweep: Path, output: Path) -> dict:
    """Snakemake's own record of the job that made a file."""
    name = urlsafe_b64encode(str(output.relative_to(sweep)).encode()).decode()
    return json.loads((sweep / ".snakemake/metadata" / name).read_text())


if __name__ == "__main__":
    main()
