"""How latencies are taken: modules that note what is asked of them, on a clock that they drive."""

import csv
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsweep import disturbance, measurement
from bitsweep.disturbance import Counters

SETTINGS = {"processes": 1, "inputs": 2, "runs": 6, "warmup": 1, "budget_seconds": 1e9, "seed": 0}


@pytest.fixture(autouse=True, scope="module")
def quiet():
    """No test depends on what else this machine does."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(disturbance, "counters", lambda: None)
        yield


class Clock:
    """The monotonic clock of the module under test."""

    def __init__(self, monkeypatch):
        self.seconds = 100.0
        monkeypatch.setattr(measurement.time, "monotonic", lambda: self.seconds)


class Module:
    """An executor whose run takes a second; `calls` is shared, to tell what came first."""

    def __init__(self, name, calls, clock):
        self.name, self.calls, self.clock = name, calls, clock
        self.image, self.timed = None, 0

    def set_input(self, image):
        self.image = image

    def time(self, runs):
        self.calls.append((self.name, runs, self.image))
        self.clock.seconds += runs
        self.timed += runs
        return [self.timed - runs + run + 0.5 for run in range(runs)]


def measured(folder, monkeypatch, paired=True, **settings):
    """Measure; return what was asked of the modules, in order, and the rows left."""
    calls, clock = [], Clock(monkeypatch)
    measurement.measure(
        Module("candidate", calls, clock),
        Module("baseline", calls, clock) if paired else None,
        (3, 4),
        SETTINGS | settings,
        folder / "samples.csv",
    )
    with (folder / "samples.csv").open(newline="") as file:
        return calls, list(csv.DictReader(file))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("runs", "block"), [(6, 3), (4, 2), (7, 1), (1, 1), (3, 3)])
def test_every_input_has_all_its_runs_in_blocks(tmp_path, monkeypatch, paired, runs, block):
    calls, rows = measured(tmp_path, monkeypatch, paired, runs=runs, warmup=0)
    assert {asked for _, asked, _ in calls} == {block}
    modules = ("candidate", "baseline") if paired else ("candidate",)
    assert Counter((row["module"], row["input"]) for row in rows) == {
        (module, number): runs for module in modules for number in "01"
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


def test_modules_take_turns_at_going_first(tmp_path, monkeypatch):
    calls, _ = measured(tmp_path, monkeypatch, warmup=0, inputs=3)
    order = ["".join(name[0] for name, _, _ in calls[i : i + 2]) for i in range(0, len(calls), 2)]
    assert order == ["cb", "bc", "cb", "bc", "cb", "bc"]


def test_an_input_is_first_met_by_each_module_in_turn(tmp_path, monkeypatch):
    """With an even number of inputs too, no module always goes first on an input."""
    calls, _ = measured(tmp_path, monkeypatch, warmup=0, inputs=2)
    first = [(name, image.tobytes()) for name, _, image in calls[::2]]
    assert len(set(first)) == 4


def test_modules_are_timed_on_the_same_images_which_differ(tmp_path, monkeypatch):
    calls, _ = measured(tmp_path, monkeypatch, warmup=0)
    images = [image for _, _, image in calls]
    assert all(image.shape == (3, 4) and image.dtype == np.float32 for image in images)
    for before, after in zip(images[::2], images[1::2], strict=True):
        np.testing.assert_array_equal(before, after)
    assert len({image.tobytes() for image in images}) == SETTINGS["inputs"]


def test_images_are_those_of_the_seed(tmp_path, monkeypatch):
    def images(seed):
        calls, _ = measured(tmp_path, monkeypatch, seed=seed)
        return [image.tobytes() for _, _, image in calls]

    assert images(3) == images(3) != images(4)


class Forgetting:
    """An executor that keeps no image."""

    def set_input(self, image):
        pass

    def time(self, runs):
        return [1.0] * runs


def test_many_inputs_are_never_held_at_once(tmp_path):
    tracemalloc.start()
    settings = SETTINGS | {"inputs": 200, "runs": 2}
    measurement.measure(Forgetting(), None, (3, 64, 64), settings, tmp_path / "samples.csv")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    image = 3 * 64 * 64 * 4
    assert image < peak < 10 * image


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
    paired=st.booleans(),
)
def test_rounds_are_whole_and_within_the_budget_but_for_the_first(
    tmp_path_factory, inputs, runs, warmup, budget, paired
):
    with pytest.MonkeyPatch.context() as monkeypatch:
        calls, rows = measured(
            tmp_path_factory.mktemp("measured"),
            monkeypatch,
            paired,
            inputs=inputs,
            runs=runs,
            warmup=warmup,
            budget_seconds=budget,
        )
    modules = 2 if paired else 1
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

    def counters():
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
    modules = [Module(name, calls, clock) for name in ("candidate", "baseline")]
    measurement.measure(*modules, (3, 4), SETTINGS | {"runs": 15}, folder / "samples.csv")
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
