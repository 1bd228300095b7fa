"""Measure the latency of compiled modules: random inputs, rounds, alternation, a time budget."""

import csv
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
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

    def time(self, runs: int, before: Callable[[], None] | None = None) -> list[float]:
        """Return the milliseconds of each run, after one that is dropped; `before` is called before
        each."""


class Module(Protocol):
    """What is measured: a module with its inputs, by number."""

    def time(self, number: int, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input of that number."""


@dataclass(frozen=True)
class Round:
    """A round's samples, as (input, module, run, milliseconds), and the machine during them."""

    samples: list[tuple[int, str, int, float]]
    disturbance: Disturbance | None
    mhz: float | None


def measure(
    modules: Mapping[str, Module],
    settings: Mapping,
    samples: Path | str,
    processes: Collection[int] = (),
) -> None:
    """Add every raw sample to a CSV, `COLUMNS`, with what disturbed its round.

    Processes with the same machine code differ by where memory lies: `settings["processes"]` sets
    of them, one after the other, add theirs, numbered, and share the budget. The `processes` of
    this one are those that the modules compute in, whose CPU time is none of others'.

    A round takes each of `inputs` once and times a block of runs of each module on it, three where
    they divide `runs`; which module goes first changes in turn. Blocks, not runs, are to be
    resampled. Rounds follow until every input has had `runs` runs, or until a further round would
    exceed the set's share of `budget_seconds`; the first always runs. Warm-up runs come before and
    count towards the budget.

    What is disturbed (`disturbance.is_disturbed`) is measured once more, under a budget of its
    own, and the samples kept are those of the less disturbed of the two. `steal` and `others` are
    the shares of the CPU time of `disturbance.Disturbance`, `mhz` the clock after the round, each
    empty where the machine does not tell.
    """
    rounds = _rounds(modules, settings, processes)
    if disturbance.is_disturbed(_disturbances(rounds)):
        again = _rounds(modules, settings, processes)
        rounds = min(
            rounds, again, key=lambda taken: disturbance.share_disturbed(_disturbances(taken))
        )
    _write(rounds, samples)


def image(shape: Sequence[int], seed: int, number: int) -> np.ndarray:
    """Return an input of a benchmark, standard-normal float32 of `shape`."""
    return np.random.default_rng([seed, number]).standard_normal(shape, dtype=np.float32)


def _rounds(
    modules: Mapping[str, Module], settings: Mapping, processes: Collection[int]
) -> list[Round]:
    start = time.monotonic()
    for module in modules.values():
        if settings["warmup"]:
            module.time(0, settings["warmup"])
    runs = next(size for size in _BLOCK_SIZES if settings["runs"] % size == 0)
    budget = settings["budget_seconds"] / settings["processes"]
    order = deque(modules.items())
    rounds: list[Round] = []
    for first_run in range(0, settings["runs"], runs):
        round_start = time.monotonic()
        before = disturbance.counters(processes)
        samples = []
        # Else, of as many inputs as modules, one module would always go first on an input.
        order.rotate(settings["inputs"] % len(modules) == 0)
        for number in range(settings["inputs"]):
            for name, module in order:
                for run, milliseconds in enumerate(module.time(number, runs)):
                    samples.append((number, name, first_run + run, milliseconds))
            order.rotate(1)
        found = disturbance.between(before, disturbance.counters(processes))
        rounds.append(Round(samples, found, disturbance.frequency_mhz()))
        now = time.monotonic()
        if now - start + (now - round_start) > budget:
            break
    return rounds


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
