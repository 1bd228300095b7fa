"""Time a network's operators within runs of the whole, in turn with runs that have no clock."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np

from bitsweep import disturbance
from bitsweep.profile import operators
from bitsweep.profile.operators import Operator

BUDGET_SECONDS = 0.4
LEAST_ROUNDS, MOST_ROUNDS = 3, 30


class OperatorClock(Protocol):
    """An executor whose operators can be timed."""

    def set_input(self, image: np.ndarray) -> None:
        """Take an image."""

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of each run, without a clock in it."""

    def time_operators(self) -> None:
        """Run once with the clock in it."""

    def taken(self) -> Sequence[Sequence[float]]:
        """Return the milliseconds of each operator in each such run, less what the clock takes.

        Of a tool that keeps no more there is one row, of their means. Nothing is timed after this.
        """


def profile(
    clock: OperatorClock,
    found: Sequence[Operator],
    settings: dict,
    path: Path | str,
    missing: str,
) -> None:
    """Write the profile of a network with the operators `found` (`operators.write`).

    Figures are medians of rounds: a whole run, then one with the clock, on one standard-normal
    input of `settings["input_shape"]`. There are `MOST_ROUNDS`, as far as `BUDGET_SECONDS` allow,
    but `LEAST_ROUNDS`. `disturbed` tells whether others used the CPUs, None where the machine does
    not.
    """
    generator = np.random.default_rng(settings["seed"])
    clock.set_input(generator.standard_normal(settings["input_shape"], dtype=np.float32))
    whole = []
    before, start = disturbance.counters(), time.monotonic()
    while len(whole) < MOST_ROUNDS:
        whole += clock.time(1)
        clock.time_operators()
        spent = time.monotonic() - start
        if len(whole) >= LEAST_ROUNDS and spent + spent / len(whole) > BUDGET_SECONDS:
            break
    during = disturbance.between(before, disturbance.counters())
    operators.write(
        path,
        found,
        [median(samples) for samples in zip(*clock.taken(), strict=True)],
        median(whole),
        threads=int(os.environ["TVM_NUM_THREADS"]),
        missing=missing,
        rounds=len(whole),
        disturbed=disturbance.is_disturbed([during]),
    )
