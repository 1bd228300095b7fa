"""From raw samples to the latency and the paired speed-up of a module."""

import csv
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bitsweep import machine, statistics


def summarize(samples: Path | str, settings: dict[str, Any]) -> dict[str, Any]:
    """Summarise the CSV that `measurement.measure` wrote under the same settings.

    Returns `latency` and `baseline` (see `statistics.summarize`, milliseconds), `speedup` (see
    `statistics.paired_speedup`), both None where no baseline was measured, and how much was run.
    """
    blocks = {name: _blocks(Path(samples), name) for name in ("candidate", "baseline")}
    candidate, baseline = blocks["candidate"], blocks["baseline"]
    runs = candidate.size // settings["inputs"]
    return {
        "inputs": settings["inputs"],
        "runs_per_input": runs,
        "runs_requested": settings["runs"],
        "stopped_by_budget": runs < settings["runs"],
        "latency": statistics.summarize(candidate),
        "baseline": statistics.summarize(baseline) if baseline.size else None,
        "speedup": statistics.paired_speedup(baseline, candidate) if baseline.size else None,
    }


def _blocks(samples: Path, module: str) -> np.ndarray:
    """The samples of one module, milliseconds, of shape (blocks, runs per block)."""
    blocks = defaultdict(list)
    with samples.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["module"] == module:
                blocks[row["round"], row["input"]].append(float(row["milliseconds"]))
    return np.array(list(blocks.values()))


def write(
    outputs: dict[str, str],
    settings: dict[str, Any],
    *,
    threads: int,
    start: datetime,
    load_before: list[float],
) -> None:
    """Write `latency`, JSON, from `samples`: `summarize`'s figures and the machine's state.

    `threads` is how many the module ran with, `load_before` the machine's load at the `start`.
    Times are ISO 8601, UTC; from start to end nothing else was timed on the machine.
    """
    figures = summarize(outputs["samples"], settings)
    described = machine.describe()
    load_after = described.pop("load_average")
    Path(outputs["latency"]).write_text(
        json.dumps(
            {
                **figures,
                "threads": threads,
                "start": start.isoformat(),
                "end": datetime.now(UTC).isoformat(),
                "machine": described,
                "load_before": load_before,
                "load_after": load_after,
            },
            indent=2,
        )
        + "\n"
    )
