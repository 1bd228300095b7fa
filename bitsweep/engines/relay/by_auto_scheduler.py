"""The auto-scheduler (Ansor): schedules that are sketched from an operator's computation.

TVM's cost model wants a package that the engine has not: candidates are drawn, not chosen.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import tvm
from tvm import auto_scheduler

from bitsweep.engines.refusal import asking

CONFIG = {"relay.backend.use_auto_scheduler": True}
"""What TVM's passes must be told for `best` to be heard."""

_PATIENCE_SECONDS = 10  # with one candidate
_MEASUREMENT = {"number": 1, "repeat": 3, "min_repeat_ms": 30}
# Evolution without a cost model gets nowhere, and takes most of the time.
_DRAWN = {
    "sample_init_min_population": 16,
    "evolutionary_search_population": 16,
    "evolutionary_search_num_iters": 1,
}


class Search:
    """An operator, with what is fused with it, and its candidates."""

    def __init__(
        self,
        task: auto_scheduler.SearchTask,
        measurer: auto_scheduler.measure.ProgramMeasurer,
        log: Path,
        records: Sequence[dict],
    ):
        self.key = json.dumps([task.workload_key, str(task.target)])
        self.tried = sum(key(record) == self.key for record in records)
        self._measurer = measurer
        self._policy = auto_scheduler.SketchPolicy(
            task,
            params=dict(_DRAWN),
            seed=1 + self.tried,
            verbose=0,
            init_search_callbacks=[auto_scheduler.PreloadMeasuredStates(str(log))],
        )

    def measure(self, count: int) -> None:
        """Measure so many more, or what is left, and add them to the log."""
        with asking("auto_scheduler.SketchPolicy.continue_search_one_round"):
            inputs, _ = self._policy.continue_search_one_round(count, self._measurer)
        self.tried += len(inputs)


def searches(
    module: tvm.IRModule,
    params: Mapping[str, tvm.nd.NDArray],
    target: tvm.target.Target,
    log: Path,
    records: Sequence[dict],
    threads: int,
) -> list[Search]:
    """Return a module's operators that are worth it, with what `records` say of them."""
    with asking("auto_scheduler.extract_tasks"):
        tasks, _ = auto_scheduler.extract_tasks(module["main"], params, target)
    measurer = auto_scheduler.measure.ProgramMeasurer(
        auto_scheduler.LocalBuilder(_PATIENCE_SECONDS, threads),
        auto_scheduler.LocalRunner(_PATIENCE_SECONDS, **_MEASUREMENT),
        [auto_scheduler.RecordToFile(str(log))],
        verbose=0,
    )
    return [Search(task, measurer, log, records) for task in tasks]


def key(record: Mapping) -> str:
    """Return what a record is of: operator, with its shapes, and target."""
    return json.dumps(record.get("i", [[]])[0][:2])


def best(log: str) -> AbstractContextManager:
    """Return the context in which TVM compiles with the best of a log."""
    return auto_scheduler.ApplyHistoryBest(log)
