"""Measure the latency of compiled modules: random inputs, rounds, alternation, a time budget."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

_BLOCK_SIZES = (3, 2, 1)


class Executor(Protocol):
    """What every engine's executor can do."""

    def set_input(self, image: np.ndarray) -> None:
        """Take an image."""

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of each run, after one that is dropped."""


def measure(
    candidate: Executor,
    baseline: Executor | None,
    input_shape: Sequence[int],
    settings: dict,
    samples: Path | str,
) -> None:
    """Write a CSV of every raw sample: `round, input, module, run, milliseconds`.

    A round takes each of `inputs` standard-normal inputs, of `input_shape`, once and times a block
    of runs of each module on it, three where they divide `runs`; which module goes first
    alternates. Blocks, not runs, are to be taken as independent. Rounds follow until every input
    has had `runs` runs, or until a further round would exceed `budget_seconds`; the first always
    runs. Warm-up runs come before and count towards the budget.
    """
    start = time.monotonic()
    modules = {"candidate": candidate} | ({"baseline": baseline} if baseline else {})
    generator = np.random.default_rng(settings["seed"])
    inputs = generator.standard_normal((settings["inputs"], *input_shape), dtype=np.float32)
    for executor in modules.values():
        executor.set_input(inputs[0])
        if settings["warmup"]:
            executor.time(settings["warmup"])
    with Path(samples).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["round", "input", "module", "run", "milliseconds"])
        runs = next(size for size in _BLOCK_SIZES if settings["runs"] % size == 0)
        for first_run in range(0, settings["runs"], runs):
            round_start = time.monotonic()
            number = first_run // runs
            for index, image in enumerate(inputs):
                order = list(modules.items())
                for name, executor in order if (number + index) % 2 == 0 else reversed(order):
                    executor.set_input(image)
                    for run, milliseconds in enumerate(executor.time(runs)):
                        writer.writerow([number, index, name, first_run + run, milliseconds])
            now = time.monotonic()
            if now - start + (now - round_start) > settings["budget_seconds"]:
                break
