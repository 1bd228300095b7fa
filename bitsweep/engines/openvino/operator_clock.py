"""What each operator of a module takes, within runs of the whole, by the tool's own counters."""

import numpy as np

from bitsweep.engines.openvino.executor import Executor
from bitsweep.engines.openvino.runtime_graph import executed


class OperatorClock(Executor):
    """The network in a module, with OpenVINO's own counters on in every run.

    They take a fiftieth of the shortest run, of 35 µs. What they keep is a mean of all runs, the
    first included, which makes the kernels: so that one is made before, and taken from the mean.
    """

    def __init__(self, path: str, image: np.ndarray):
        super().__init__(path, PERF_COUNT=True)
        self.run(image)
        self.operators = executed(self._compiled)
        self._runs = 1

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs, as `Executor` does."""
        self._runs += runs + 1
        return super().time(runs)

    def time_operators(self) -> None:
        """Nothing: every run is counted."""

    def taken(self) -> list[list[float]]:
        """Return the mean milliseconds of each of `operators`, 0 where the counters cut it off."""
        now = executed(self._compiled)
        all_runs = [self._runs * operator.microseconds for operator in now]
        first = [operator.microseconds for operator in self.operators]
        others = self._runs - 1
        return [[max(0, a - b) / others / 1e3 for a, b in zip(all_runs, first, strict=True)]]
