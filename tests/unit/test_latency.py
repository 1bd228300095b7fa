"""Figures from samples as `measurement.measure` writes them, against numpy and scipy."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.stats import bootstrap

from bitsweep import latency, machine, measurement, statistics

SETTINGS = {"inputs": 4, "runs": 6, "warmup": 0, "budget_seconds": 1e9, "seed": 0}
BLOCK = 3


class Module:
    """An executor with the given latencies, one after the other."""

    def __init__(self, milliseconds):
        self.milliseconds = iter(milliseconds)

    def set_input(self, image):
        pass

    def time(self, runs):
        return [next(self.milliseconds) for _ in range(runs)]


def drawn(seed, median):
    """Latencies in blocks (2 rounds x 4 inputs, 3 runs), skewed as real ones are."""
    return median * np.random.default_rng(seed).lognormal(0, 0.1, (8, BLOCK))


CANDIDATE, BASELINE = drawn(0, 2.0), drawn(1, 3.0)


def sampled(folder, candidate=CANDIDATE, baseline=BASELINE, **settings):
    path = folder / "samples.csv"
    measurement.measure(
        Module(candidate.flat),
        None if baseline is None else Module(baseline.flat),
        (1,),
        SETTINGS | settings,
        path,
    )
    return path


def interval(blocks):
    return bootstrap(
        (np.arange(len(blocks)),),
        lambda rows: np.median(blocks[rows]),
        method="percentile",
        n_resamples=statistics.RESAMPLES,
        vectorized=False,
        random_state=np.random.default_rng(statistics.SEED),
    ).confidence_interval


@pytest.mark.parametrize(("name", "blocks"), [("latency", CANDIDATE), ("baseline", BASELINE)])
def test_figures_of_each_module_are_those_of_its_samples(tmp_path, name, blocks):
    figures = latency.summarize(sampled(tmp_path), SETTINGS)[name]
    low, high = interval(blocks)
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
            "samples": 24,
        }
    )


def test_the_speedup_is_over_blocks_taken_side_by_side(tmp_path):
    ratios = np.median(BASELINE, axis=1) / np.median(CANDIDATE, axis=1)
    low, high = interval(ratios)
    assert latency.summarize(sampled(tmp_path), SETTINGS)["speedup"] == pytest.approx(
        {"median": np.median(ratios), "low": low, "high": high}
    )


def test_a_drift_that_both_modules_share_leaves_the_speedup_exact(tmp_path):
    drift = np.linspace(1, 5, 8)[:, None]
    path = sampled(tmp_path, 2.0 * drift * np.ones(BLOCK), 3.0 * drift * np.ones(BLOCK))
    speedup = latency.summarize(path, SETTINGS)["speedup"]
    assert speedup == pytest.approx({"median": 1.5, "low": 1.5, "high": 1.5})


def test_without_a_baseline_there_is_no_speedup(tmp_path):
    figures = latency.summarize(sampled(tmp_path, baseline=None), SETTINGS)
    assert figures["baseline"] is None
    assert figures["speedup"] is None
    assert figures["latency"]["samples"] == 24


@pytest.mark.parametrize(("requested", "stopped"), [(6, False), (9, True)])
def test_it_tells_how_much_was_run_and_whether_the_budget_stopped_it(tmp_path, requested, stopped):
    figures = latency.summarize(sampled(tmp_path), SETTINGS | {"runs": requested})
    told = {
        name: figures[name]
        for name in ("inputs", "runs_per_input", "runs_requested", "stopped_by_budget")
    }
    assert told == {
        "inputs": 4,
        "runs_per_input": 6,
        "runs_requested": requested,
        "stopped_by_budget": stopped,
    }


def test_what_is_written_has_the_figures_and_the_state_of_the_machine(tmp_path, monkeypatch):
    described = {"cpu_model": "A CPU", "load_average": [3.0, 2.0, 1.0]}
    monkeypatch.setattr(machine, "describe", lambda: dict(described))
    samples, written = sampled(tmp_path), tmp_path / "latency.json"
    outputs = {"samples": str(samples), "latency": str(written)}
    start = datetime.now(UTC)
    latency.write(outputs, SETTINGS, threads=2, start=start, load_before=[0.5, 0.4, 0.3])
    payload = json.loads(written.read_text())
    end = datetime.fromisoformat(payload.pop("end"))
    assert start <= end <= datetime.now(UTC)
    assert payload == {
        **latency.summarize(samples, SETTINGS),
        "threads": 2,
        "start": start.isoformat(),
        "machine": {"cpu_model": "A CPU"},
        "load_before": [0.5, 0.4, 0.3],
        "load_after": [3.0, 2.0, 1.0],
    }
