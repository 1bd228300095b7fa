"""A target that is tuned for: a killed run goes on from its log, and speeds are paired with those
of the target without tuning."""

import json
import signal

from tests.workflow.checkout import eventually, running

OWN = "digits/relay/tuned/float32"
TARGET = f"results/{OWN}/latency.json"


def tuned(trials):
    return {
        "sweep": {
            "models": ["digits"],
            "engines": ["relay"],
            "targets": ["cpu", "tuned"],
            "precisions": ["float32", "int8"],
        },
        "targets": {"tuned": {"tuning": {"by": "autotvm", "trials": trials, "seconds": 100}}},
    }


def test_a_killed_tuning_goes_on_from_what_it_has_measured(digits):
    kept = digits.path(f"results/logs/{OWN}/autotvm.jsonl")
    tune = f"results/{OWN}/tune.json"
    with running(digits, "--", tune, config=tuned(2)) as snakemake:
        eventually(lambda: kept.exists() and kept.read_text(), "a measurement")
        for process in digits.processes():
            process.send_signal(signal.SIGKILL)
        snakemake.wait()
        eventually(lambda: not digits.processes(), "all processes to end")
    measured = kept.read_text()
    assert not digits.path(tune).exists()

    digits.done("--unlock", config=tuned(2))
    digits.done("--", TARGET, config=tuned(2))
    assert kept.read_text().startswith(measured[: measured.rfind("\n") + 1])
    assert digits.path(f"results/{OWN}/tuning.log").read_text() == kept.read_text()

    latency = json.loads(digits.path(TARGET).read_text())
    assert latency["untuned"]["samples"] == latency["latency"]["samples"]
    assert latency["untuned_speedup"]["median"] > 0
    untuned = json.loads(digits.path("results/digits/relay/cpu/float32/latency.json").read_text())
    assert untuned["untuned_speedup"] is None

    assert digits.stale("--", TARGET, config=tuned(2)) == set()
    assert digits.stale("--", TARGET, config=tuned(3)) == {
        f"{stage} {OWN}" for stage in ("tune", "compile", "export", "benchmark")
    }
