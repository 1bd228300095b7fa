"""Measure the latency of compiled modules: random inputs, rounds, alternation, a time budget."""

import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bitsweep import disturbance
from bitsweep.disturbance import Disturbance

COLUMNS = ("process", "round", "steal", "others", "mhz", "input", "module", "run", "milliseconds")
_BLOCK_SIZES = (3, 2, 1)


class Executor(Protocol):
    """What every engine's executor can do."""

    def set_input(self, image: np.ndarray) -> None:
        """Take an image."""

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of each run, after one that is dropped."""


@dataclass(frozen=True)
class Round:
    """A round's samples, as (input, module, run, milliseconds), and the machine during them."""

    samples: list[tuple[int, str, int, float]]
    disturbance: Disturbance | None
    mhz: float | None


def measure(
    candidate: Executor,
    baseline: Executor | None,
    input_shape: Sequence[int],
    settings: dict,
    samples: Path | str,
) -> None:
    """Add every raw sample to a CSV, `COLUMNS`, with what disturbed its round.

    Processes with the same machine code differ by where memory lies: `settings["processes"]` of
    them, one after the other, add theirs, numbered, and share the budget.

    A round takes each of `inputs` standard-normal inputs, of `input_shape`, once and times a block
    of runs of each module on it, three where they divide `runs`; which module goes first
    alternates. Blocks, not runs, are to be resampled. Rounds follow until every input has had
    `runs` runs, or until a further round would exceed the process's share of `budget_seconds`; the
    first always runs. Warm-up runs come before and count towards the budget.

    What is disturbed (`disturbance.is_disturbed`) is measured once more, under a budget of its
    own, and the samples kept are those of the less disturbed of the two. `steal` and `others` are
    the shares of the CPU time of `disturbance.Disturbance`, `mhz` the clock after the round, each
    empty where the machine does not tell.
    """
    modules = {"candidate": candidate} | ({"baseline": baseline} if baseline else {})
    rounds = _rounds(modules, input_shape, settings)
    if disturbance.is_disturbed(_disturbances(rounds)):
        again = _rounds(modules, input_shape, settings)
        rounds = min(
            rounds, again, key=lambda taken: disturbance.share_disturbed(_disturbances(taken))
        )
    _write(rounds, samples)


def _rounds(
    modules: Mapping[str, Executor], input_shape: Sequence[int], settings: Mapping
) -> list[Round]:
    start = time.monotonic()
    for executor in modules.values():
        executor.set_input(next(_inputs(input_shape, settings)))
        if settings["warmup"]:
            executor.time(settings["warmup"])
    runs = next(size for size in _BLOCK_SIZES if settings["runs"] % size == 0)
    budget = settings["budget_seconds"] / settings["processes"]
    rounds: list[Round] = []
    for first_run in range(0, settings["runs"], runs):
        round_start = time.monotonic()
        before = disturbance.counters()
        samples = []
        for index, image in enumerate(_inputs(input_shape, settings)):
            order = list(modules.items())
            for name, executor in order if (len(rounds) + index) % 2 == 0 else reversed(order):
                executor.set_input(image)
                for run, milliseconds in enumerate(executor.time(runs)):
                    samples.append((index, name, first_run + run, milliseconds))
        found = disturbance.between(before, disturbance.counters())
        rounds.append(Round(samples, found, disturbance.frequency_mhz()))
        now = time.monotonic()
        if now - start + (now - round_start) > budget:
            break
    return rounds


def _inputs(shape: Sequence[int], settings: Mapping) -> Iterator[np.ndarray]:
    """Yield the inputs of a round, the same in each, never holding more than one."""
    generator = np.random.default_rng(settings["seed"])
    for _ in range(settings["inputs"]):
        yield generator.standard_normal(shape, dtype=np.float32)


def _disturbances(rounds: Sequence[Round]) -> list[Disturbance | None]:
    return [taken.disturbance for taken in rounds]


def _write(rounds: Sequence[Round], path: Path | str) -> None:
    with Path(path).open("a+", newline="") as file:
        file.seek(0)
        before = [row["process"] for row in csv.DictReader(file)]
        process = int(before[-1]) + 1 if before else 0
        writer = csv.writer(file)
        if not before:
            writer.writerow(COLUMNS)
        for number, taken in enumerate(rounds):
            found = taken.disturbance
            machine = (found.steal, found.others) if found else (None, None)
            for sample in taken.samples:
                writer.writerow([process, number, *machine, taken.mhz, *sample])
