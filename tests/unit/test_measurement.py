"""How latencies are taken: modules that note what is asked of them, on a clock that they drive."""

import csv
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import disturbance, measurement
from bitsweep.disturbance import Counters

SETTINGS = {"processes": 1, "inputs": 2, "runs": 6, "warmup": 1, "budget_seconds": 1e9}


@pytest.fixture(autouse=True, scope="module")
def quiet():
    """No test depends on what else this machine does."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(disturbance, "counters", lambda processes: None)
        yield


class Clock:
    """The monotonic clock of the module under test."""

    def __init__(self, monkeypatch):
        self.seconds = 100.0
        monkeypatch.setattr(measurement.time, "monotonic", lambda: self.seconds)


class Module:
    """A module whose run takes a second; `calls` is shared, to tell what came first."""

    def __init__(self, name, calls, clock):
        self.name, self.calls, self.clock = name, calls, clock
        self.timed = 0

    def time(self, number, runs):
        self.calls.append((self.name, runs, number))
        self.clock.seconds += runs
        self.timed += runs
        return [self.timed - runs + run + 0.5 for run in range(runs)]


NAMES = ("candidate", "baseline", "reference")


def measured(folder, monkeypatch, modules=2, **settings):
    """Measure; return what was asked of the modules, in order, and the rows left."""
    calls, clock = [], Clock(monkeypatch)
    measurement.measure(
        {name: Module(name, calls, clock) for name in NAMES[:modules]},
        SETTINGS | settings,
        folder / "samples.csv",
    )
    with (folder / "samples.csv").open(newline="") as file:
        return calls, list(csv.DictReader(file))


@pytest.mark.parametrize("modules", [1, 2, 3])
@pytest.mark.parametrize(("runs", "block"), [(6, 3), (4, 2), (7, 1), (1, 1), (3, 3)])
def test_every_input_has_all_its_runs_in_blocks(tmp_path, monkeypatch, modules, runs, block):
    calls, rows = measured(tmp_path, monkeypatch, modules, runs=runs, warmup=0)
    assert {asked for _, asked, _ in calls} == {block}
    assert Counter((row["module"], row["input"]) for row in rows) == {
        (module, number): runs for module in NAMES[:modules] for number in "01"
    }
    for row in rows:
        assert int(row["round"]) == int(row["run"]) // block
    keys = [(row["module"], row["input"], row["run"]) for row in rows]
    assert len(set(keys)) == len(rows)


def test_every_sample_is_kept_as_it_was_taken(tmp_path, monkeypatch):
    """The modules number their runs; those of the warm-up, the first two, are left out."""
    _, rows = measured(tmp_path, monkeypatch, warmup=2)
    for module in ("candidate", "baseline"):
        taken = [float(row["milliseconds"]) for row in rows if row["module"] == module]
        assert taken == [run + 0.5 for run in range(2, 14)]


@pytest.mark.parametrize("modules", [2, 3])
@pytest.mark.parametrize("inputs", [1, 2, 3, 6])
def test_modules_take_turns_at_going_first_on_each_input(tmp_path, monkeypatch, modules, inputs):
    calls, _ = measured(tmp_path, monkeypatch, modules, warmup=0, inputs=inputs, runs=3 * modules)
    order = [calls[start : start + modules] for start in range(0, len(calls), modules)]
    assert {len({name for name, _, _ in turn}) for turn in order} == {modules}
    assert {len({number for _, _, number in turn}) for turn in order} == {1}
    first = [(turn[0][0], turn[0][2]) for turn in order]
    assert sorted(first) == sorted(itertools.product(NAMES[:modules], range(inputs)))


def test_inputs_are_those_of_the_seed_and_differ():
    def images(seed):
        return [measurement.image((3, 4), seed, number).tobytes() for number in range(5)]

    assert measurement.image((3, 4), 0, 0).dtype == np.float32
    assert images(3) == images(3) != images(4)
    assert len(set(images(3))) == 5


@pytest.mark.parametrize("warmup", [0, 5])
def test_each_module_warms_up_before_the_first_round(tmp_path, monkeypatch, warmup):
    calls, _ = measured(tmp_path, monkeypatch, warmup=warmup)
    warm = [(name, runs) for name, runs, _ in calls[:2]]
    assert (warm == [("candidate", 5), ("baseline", 5)]) == (warmup == 5)
    assert sum(runs for _, runs, _ in calls) == 2 * (warmup + 2 * 6)


# A round of two inputs, two modules and three runs each takes 12 s, the warm-up of both 2 s.
@pytest.mark.parametrize(
    ("budget", "rounds"), [(0.1, 1), (25.9, 1), (26, 2), (37.9, 2), (38, 3), (1000, 5)]
)
def test_a_further_round_runs_only_where_the_budget_holds_it(tmp_path, monkeypatch, budget, rounds):
    _, rows = measured(tmp_path, monkeypatch, runs=15, budget_seconds=budget)
    assert {row["round"] for row in rows} == {str(number) for number in range(rounds)}
    assert len(rows) == rounds * 12


def test_processes_share_the_budget(tmp_path, monkeypatch):
    _, rows = measured(tmp_path, monkeypatch, runs=15, budget_seconds=3 * 26, processes=3)
    assert {row["round"] for row in rows} == {"0", "1"}


@given(
    inputs=st.integers(1, 4),
    runs=st.integers(1, 9),
    warmup=st.integers(0, 3),
    budget=st.floats(0.5, 200),
    modules=st.integers(1, 3),
)
def test_rounds_are_whole_and_within_the_budget_but_for_the_first(
    tmp_path_factory, inputs, runs, warmup, budget, modules
):
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls, rows = measured(
            tmp_path_factory.mktemp("measured"),
            monkeypatch,
            modules,
            inputs=inputs,
            runs=runs,
            warmup=warmup,
            budget_seconds=budget,
        )
    sizes = Counter(row["round"] for row in rows).values()
    assert len(set(sizes)) == 1
    in_round = set(sizes).pop()
    assert in_round % (inputs * modules) == 0
    spent = sum(asked for _, asked, _ in calls)
    assert spent == modules * warmup + len(rows)
    assert len(sizes) == 1 or spent <= budget
    assert len(rows) == modules * inputs * runs or spent + in_round > budget


def machine_of(monkeypatch, clock, calls, others_by_round, inputs=2, cpus=4):
    """Let other processes have these shares of the CPU time of each round, and the module all else.

    A round is told by the blocks that were timed, of two modules on each input.
    """
    busy = 0.0
    last = [None]

    def counters(processes):
        nonlocal busy
        blocks = sum(1 for _, runs, _ in calls if runs == 3)
        if last[0] is not None and blocks > last[0][0]:
            number = blocks // (2 * inputs) - 1
            busy += others_by_round[number] * cpus * (clock.seconds - last[0][1])
        last[0] = (blocks, clock.seconds)
        return Counters(clock.seconds, cpus, busy, 0.0, 0.0)

    monkeypatch.setattr(disturbance, "counters", counters)


def measured_beside(folder, monkeypatch, others_by_round):
    calls, clock = [], Clock(monkeypatch)
    machine_of(monkeypatch, clock, calls, others_by_round)
    modules = {name: Module(name, calls, clock) for name in ("candidate", "baseline")}
    measurement.measure(modules, SETTINGS | {"runs": 15}, folder / "samples.csv")
    with (folder / "samples.csv").open(newline="") as file:
        return calls, list(csv.DictReader(file))


ROUNDS_OF_ONE = 5  # 15 runs in blocks of three


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ([0.2, 0, 0, 0, 0], None, 0),  # a fifth of the rounds: not too many
        ([0.2, 0.2, 0, 0, 0], [0, 0, 0, 0, 0], 1),
        ([0.2, 0.2, 0, 0, 0], [0.9, 0.9, 0.9, 0, 0], 0),
        ([0.2, 0.2, 0, 0, 0], [0.9, 0.9, 0, 0, 0], 0),
    ],
)
def test_what_was_disturbed_is_measured_once_more(tmp_path, monkeypatch, first, second, kept):
    calls, rows = measured_beside(tmp_path, monkeypatch, [*first, *(second or [])])
    attempts = 1 if second is None else 2
    assert sum(runs == 3 for _, runs, _ in calls) == attempts * ROUNDS_OF_ONE * 4
    assert [runs for _, runs, _ in calls].count(1) == 2 * attempts  # warm-up
    others = {int(row["round"]): float(row["others"]) for row in rows}
    expected = [first, second][kept]
    # A round is 12 s; less than a tick a CPU, 10 ms, is not told.
    assert [others[number] for number in range(ROUNDS_OF_ONE)] == pytest.approx(expected, abs=1e-3)
    taken = [float(row["milliseconds"]) for row in rows if row["module"] == "candidate"]
    warm = 1 + kept * (ROUNDS_OF_ONE * 6 + 1)
    assert taken == [run + 0.5 for run in range(warm, warm + ROUNDS_OF_ONE * 6)]


def test_a_machine_that_tells_nothing_leaves_its_columns_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(disturbance, "frequency_mhz", lambda: None)
    _, rows = measured(tmp_path, monkeypatch)
    assert tuple(rows[0]) == measurement.COLUMNS
    assert {(row["steal"], row["others"], row["mhz"]) for row in rows} == {("", "", "")}
