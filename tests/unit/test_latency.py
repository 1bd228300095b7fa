"""Figures from samples as `measurement.measure` writes them, against numpy."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from bitsweep import bootstrap, disturbance, latency, machine, measurement, statistics
from bitsweep.disturbance import Disturbance

SETTINGS = {"processes": 1, "inputs": 4, "runs": 9, "warmup": 0, "budget_seconds": 1e9}
SETTINGS |= {"reference": "onnxruntime", "cold": False}
BLOCK = 3


class Module:
    """A module with the given latencies, one after the other."""

    def __init__(self, milliseconds):
        self.milliseconds = iter(milliseconds)

    def time(self, number, runs):
        return [next(self.milliseconds) for _ in range(runs)]


def drawn(seed, median):
    """Latencies in blocks (3 rounds x 4 inputs, 3 runs), skewed as real ones are."""
    return median * np.random.default_rng(seed).lognormal(0, 0.1, (12, BLOCK))


CANDIDATE, BASELINE = drawn(0, 2.0), drawn(1, 3.0)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """No test depends on what else this machine does."""
    monkeypatch.setattr(disturbance, "counters", lambda processes: None)
    monkeypatch.setattr(disturbance, "frequency_mhz", lambda: None)


def sampled(folder, candidate=CANDIDATE, baseline=BASELINE, beside=None, **settings):
    path = folder / "samples.csv"
    blocks = {"candidate": candidate, "baseline": baseline, **(beside or {})}
    modules = {name: Module(taken.flat) for name, taken in blocks.items() if taken is not None}
    measurement.measure(modules, SETTINGS | settings, path)
    return path


@pytest.mark.parametrize(("name", "blocks"), [("latency", CANDIDATE), ("baseline", BASELINE)])
def test_figures_of_each_module_are_those_of_its_samples(tmp_path, name, blocks):
    figures = latency.summarize(sampled(tmp_path), SETTINGS)[name]
    low, high = bootstrap.median_interval(blocks)
    assert figures == pytest.approx(
        {
            "median_ms": np.median(blocks),
            "mean_ms": np.mean(blocks),
            "std_ms": np.std(blocks, ddof=1),
            "p90_ms": np.percentile(blocks, 90),
            "p99_ms": np.percentile(blocks, 99),
            "median_low_ms": low,
            "median_high_ms": high,
            "minimum_ms": blocks.min(),
            "samples": 36,
        }
    )


def test_the_speedup_is_over_blocks_taken_side_by_side(tmp_path):
    ratios = np.median(BASELINE, axis=1) / np.median(CANDIDATE, axis=1)
    low, high = bootstrap.median_interval(ratios[:, None])
    assert latency.summarize(sampled(tmp_path), SETTINGS)["speedup"] == pytest.approx(
        {"median": np.median(ratios), "low": low, "high": high}
    )


@pytest.mark.parametrize("module", ["reference", "untuned"])
def test_the_speedup_over_another_module_is_of_its_own_blocks(tmp_path, module):
    blocks = drawn(2, 5.0)
    ratios = np.median(blocks, axis=1) / np.median(CANDIDATE, axis=1)
    figures = latency.summarize(sampled(tmp_path, beside={module: blocks}), SETTINGS)
    assert figures[f"{module}_speedup"]["median"] == pytest.approx(np.median(ratios))
    assert figures[module]["median_ms"] == pytest.approx(np.median(blocks))
    assert figures["reference_engine"] == "onnxruntime"
    assert figures["speedup"] == latency.summarize(tmp_path / "samples.csv", SETTINGS)["speedup"]


def test_a_drift_that_both_modules_share_leaves_the_speedup_exact(tmp_path):
    drift = np.linspace(1, 5, 12)[:, None]
    path = sampled(tmp_path, 2.0 * drift * np.ones(BLOCK), 3.0 * drift * np.ones(BLOCK))
    speedup = latency.summarize(path, SETTINGS)["speedup"]
    assert speedup == pytest.approx({"median": 1.5, "low": 1.5, "high": 1.5})


def test_processes_add_their_samples_and_are_told_apart(tmp_path):
    settings = SETTINGS | {"processes": 2}
    for slower in (1.0, 1.5):
        path = sampled(tmp_path, slower * CANDIDATE, processes=2)
    figures = latency.summarize(path, settings)
    expected = statistics.summarize(
        np.concatenate([CANDIDATE, 1.5 * CANDIDATE]), np.repeat([0, 1], len(CANDIDATE))
    )
    assert figures["latency"] == pytest.approx(expected)
    assert (figures["processes"], figures["runs_per_input"]) == (2, 18)
    assert figures["speedup"]["low"] < 1.0 < 1.5 < figures["speedup"]["high"]


def test_without_a_baseline_there_is_no_speedup(tmp_path):
    figures = latency.summarize(sampled(tmp_path, baseline=None), SETTINGS)
    assert figures["baseline"] is None
    assert figures["speedup"] is None
    assert figures["reference"] is figures["reference_speedup"] is None
    assert figures["untuned"] is figures["untuned_speedup"] is None
    assert figures["latency"]["samples"] == 36


@pytest.mark.parametrize(("requested", "stopped"), [(9, False), (12, True)])
def test_it_tells_how_much_was_run_and_whether_the_budget_stopped_it(tmp_path, requested, stopped):
    figures = latency.summarize(sampled(tmp_path), SETTINGS | {"runs": requested})
    told = {
        name: figures[name]
        for name in ("inputs", "runs_per_input", "runs_requested", "stopped_by_budget")
    }
    assert told == {
        "inputs": 4,
        "runs_per_input": 9,
        "runs_requested": requested,
        "stopped_by_budget": stopped,
    }


def test_what_is_written_has_the_figures_and_the_state_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "describe", lambda: {"cpu_model": "A CPU"})
    samples, written = sampled(tmp_path), tmp_path / "latency.json"
    outputs = {"samples": str(samples), "latency": str(written)}
    start = datetime.now(UTC)
    latency.write(outputs, SETTINGS, threads=2, start=start, load_before=0.5)
    payload = json.loads(written.read_text())
    end = datetime.fromisoformat(payload.pop("end"))
    assert start <= end <= datetime.now(UTC)
    assert payload == {
        **latency.summarize(samples, SETTINGS),
        "threads": 2,
        "start": start.isoformat(),
        "machine": {"cpu_model": "A CPU"},
        "load_before": 0.5,
    }


@pytest.mark.parametrize(
    ("others", "disturbed"), [([0.0, 0.03, 0.03], False), ([0.0, 0.0, 0.6], True)]
)
def test_it_tells_what_else_the_machine_did(tmp_path, monkeypatch, others, disturbed):
    rounds = iter([Disturbance(0.01, share) for share in 2 * others])
    monkeypatch.setattr(disturbance, "between", lambda *_: next(rounds))
    mhz = iter(2 * [2000.0, 2100.0, 2500.0])
    monkeypatch.setattr(disturbance, "frequency_mhz", lambda: next(mhz))
    twice = 2 if disturbed else 1
    path = sampled(tmp_path, np.tile(CANDIDATE, (twice, 1)), np.tile(BASELINE, (twice, 1)))
    figures = latency.summarize(path, SETTINGS)
    assert figures["disturbed"] is disturbed
    assert figures["steal_percent"] == pytest.approx(1)
    assert figures["others_percent"] == pytest.approx(100 * np.mean(others))
    assert figures["cpu_mhz"] == 2200
    assert figures["latency"]["samples"] == 36


def test_what_disturbed_one_process_of_several_counts(tmp_path, monkeypatch):
    # Three rounds of each process, those of the first measured once more.
    rounds = iter([Disturbance(0.0, share) for share in 6 * [0.6] + 3 * [0.0]])
    monkeypatch.setattr(disturbance, "between", lambda *_: next(rounds))
    twice = (np.tile(CANDIDATE, (2, 1)), np.tile(BASELINE, (2, 1)))
    sampled(tmp_path, *twice, processes=2)
    figures = latency.summarize(sampled(tmp_path, processes=2), SETTINGS | {"processes": 2})
    assert figures["disturbed"]
    assert figures["others_percent"] == pytest.approx(30)


def test_a_machine_that_tells_nothing_is_not_said_to_be_quiet(tmp_path):
    figures = latency.summarize(sampled(tmp_path), SETTINGS)
    names = ("disturbed", "steal_percent", "others_percent", "cpu_mhz")
    assert [figures[name] for name in names] == [None] * 4


def test_too_few_blocks_have_no_interval(tmp_path):
    path = sampled(tmp_path, CANDIDATE[:8], BASELINE[:8], runs=6)
    figures = latency.summarize(path, SETTINGS | {"runs": 6})
    assert figures["latency"]["median_ms"] == np.median(CANDIDATE[:8])
    assert figures["latency"]["median_low_ms"] is figures["latency"]["median_high_ms"] is None
    assert figures["speedup"]["low"] is figures["speedup"]["high"] is None
