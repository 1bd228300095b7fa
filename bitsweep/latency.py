"""From raw samples to the latency and the paired speed-up of a module."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bitsweep import disturbance, machine, statistics
from bitsweep.disturbance import Disturbance


def summarize(samples: Path | str, settings: dict[str, Any]) -> dict[str, Any]:
    """Summarise the CSV that `measurement.measure` wrote under the same settings.

    Returns `latency` (see `statistics.summarize`, milliseconds), the same of the `baseline` and the
    `speedup` over it (see `statistics.paired_speedup`), of the `reference` and the
    `reference_speedup`, and of what is `untuned` and the `untuned_speedup`, None where the one or
    the other was not measured; how much was run, and
    what `disturbed` it: whether it was, the mean percentages of the CPU time, and the mean clock,
    MHz; None where the machine does not tell.
    """
    with Path(samples).open(newline="") as file:
        rows = list(csv.DictReader(file))
    candidate, processes = _blocks(rows, "candidate")
    runs = candidate.size // settings["inputs"]
    return {
        "inputs": settings["inputs"],
        "runs_per_input": runs,
        "runs_requested": settings["runs"] * settings["processes"],
        "processes": settings["processes"],
        "budget_seconds": settings["budget_seconds"],
        "cold": settings["cold"],
        "stopped_by_budget": runs < settings["runs"] * settings["processes"],
        "latency": statistics.summarize(candidate, processes),
        **_beside(rows, candidate, processes, "baseline", "speedup"),
        **_beside(rows, candidate, processes, "reference", "reference_speedup"),
        "reference_engine": settings["reference"],
        **_beside(rows, candidate, processes, "untuned", "untuned_speedup"),
        **_surroundings(rows),
    }


def _beside(rows, candidate, processes, module: str, speedup: str) -> dict[str, Any]:
    """The latency of another module, and the speed-up over it; None where it was not measured."""
    other, its_processes = _blocks(rows, module)
    if not other.size:
        return {module: None, speedup: None}
    return {
        module: statistics.summarize(other, its_processes),
        speedup: statistics.paired_speedup(other, candidate, processes),
    }


def _blocks(rows: Sequence[dict[str, str]], module: str) -> tuple[np.ndarray, np.ndarray]:
    """The samples of one module, milliseconds, of shape (blocks, runs per block), and the process
    of each block."""
    blocks: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row["module"] == module:
            block = blocks.setdefault((row["process"], row["round"], row["input"]), [])
            block.append(float(row["milliseconds"]))
    return np.array(list(blocks.values())), np.array([int(process) for process, *_ in blocks])


def _surroundings(rows: Sequence[dict[str, str]]) -> dict[str, Any]:
    rounds = {(row["process"], row["round"]): row for row in rows}.values()
    found = [
        Disturbance(float(row["steal"]), float(row["others"])) for row in rounds if row["steal"]
    ]
    return {
        "disturbed": disturbance.is_disturbed(found),
        "steal_percent": _mean([100 * one.steal for one in found]),
        "others_percent": _mean([100 * one.others for one in found]),
        "cpu_mhz": _mean([float(row["mhz"]) for row in rounds if row["mhz"]]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def write(
    outputs: dict[str, str],
    settings: dict[str, Any],
    *,
    threads: int,
    start: datetime,
    load_before: float,
) -> None:
    """Write `latency`, JSON, from `samples`: `summarize`'s figures and the machine's state.

    `threads` is how many the module ran with, `load_before` the machine's mean number of runnable
    processes over the minute before the `start`. Times are ISO 8601, UTC; from start to end
    nothing else of the workflow ran on the machine.
    """
    Path(outputs["latency"]).write_text(
        json.dumps(
            {
                **summarize(outputs["samples"], settings),
                "threads": threads,
                "start": start.isoformat(),
                "end": datetime.now(UTC).isoformat(),
                "machine": machine.describe(),
                "load_before": load_before,
            },
            indent=2,
        )
        + "\n"
    )
