"""AutoTVM: the knobs of TVM's schedule templates, tried at random, none twice.

What TVM takes for want of tuning is tried first: of few candidates none may be as good.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace

import tvm
from tvm import autotvm
from tvm.autotvm.measure.measure_methods import BuildResult, RPCRunner
from tvm.autotvm.task.space import ConfigEntity, FallbackConfigEntity
from tvm.autotvm.tuner import RandomTuner

from bitsweep.engines.refusal import asking

CONFIG: dict[str, bool] = {}
"""What TVM's passes must be told for `best` to be heard."""

_PATIENCE_SECONDS = 10  # with one candidate
_MEASUREMENT = {"number": 1, "repeat": 3, "min_repeat_ms": 30, "cooldown_interval": 0}


class Search:
    """An operator and its candidates."""

    def __init__(self, task: autotvm.task.Task, option: dict, log: Path, records: Sequence[dict]):
        self.key = json.dumps([str(task.target), task.name, task.args])
        self._option, self._log = option, log
        self._tuner = _UntunedFirst(task)
        self._tuner.visited += [
            record["config"]["index"] for record in records if key(record) == self.key
        ]

    @property
    def tried(self) -> int:
        """How many candidates have been measured."""
        return len(self._tuner.visited)

    def measure(self, count: int) -> None:
        """Measure so many more, or what is left, and add them to the log."""
        with asking("autotvm.Tuner.tune"):
            self._tuner.tune(
                count, self._option, callbacks=[autotvm.callback.log_to_file(str(self._log))]
            )


def searches(
    module: tvm.IRModule,
    params: Mapping[str, tvm.nd.NDArray],
    target: tvm.target.Target,
    log: Path,
    records: Sequence[dict],
    threads: int,
) -> list[Search]:
    """Return a module's operators that have a template, with what `records` say of them."""
    with asking("autotvm.task.extract_from_program"), tvm.transform.PassContext(opt_level=3):
        tasks = autotvm.task.extract_from_program(module["main"], target=target, params=params)
    option = autotvm.measure_option(
        autotvm.LocalBuilder(_PATIENCE_SECONDS, n_parallel=threads, do_fork=True), _Here()
    )
    return [Search(task, option, log, records) for task in tasks]


def key(record: Mapping) -> str:
    """Return what a record is of: target and operator, with its shapes."""
    return json.dumps(record.get("input", [])[:3])


def best(log: str) -> AbstractContextManager:
    """Return the context in which TVM compiles with the best of a log."""
    return autotvm.apply_history_best(log)


class _UntunedFirst(RandomTuner):
    def next_batch(self, batch_size: int) -> list[ConfigEntity]:
        first = [] if self.visited else _untuned(self.task)
        self.visited += first
        later = super().next_batch(batch_size - len(first))
        return [self.space.get(place) for place in first] + later


def _untuned(task: autotvm.task.Task) -> list[int]:
    """Where in its space the schedule is that an operator has untuned; nowhere for some."""
    config = FallbackConfigEntity()
    with asking("autotvm.Task.instantiate"), task.target:
        task.instantiate(config)
    untuned = _values(config)
    space = task.config_space
    places = range(space.range_length)
    return [
        place
        for place in places
        if space.is_index_valid(place) and _values(space.get(place)) == untuned
    ][:1]


def _values(config: ConfigEntity) -> dict[str, object]:
    """What a configuration has of each knob; how often a tile fits is no choice."""
    return {
        name: tuple(knob.size[1:]) if hasattr(knob, "size") else knob.val
        for name, knob in config._entity_map.items()
    }


class _Here(RPCRunner):
    """Measures one candidate at a time in a process beside this one.

    TVM's own local runner does so by way of a server, which wants more packages.
    """

    def __init__(self) -> None:
        super().__init__(
            *("", "", 0),
            timeout=_PATIENCE_SECONDS,
            n_parallel=1,
            module_loader=_loaded,
            **_MEASUREMENT,
        )

    def set_task(self, task: autotvm.task.Task) -> None:
        self.task = task


@contextmanager
def _loaded(_: Mapping, built: BuildResult) -> Iterator[tuple[SimpleNamespace, tvm.runtime.Module]]:
    here = SimpleNamespace(device=tvm.device, get_function=tvm.get_global_func)
    yield here, tvm.runtime.load_module(built.filename)
