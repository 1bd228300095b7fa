"""A target that is tuned for: a killed run goes on from its log, and speeds are paired with those
of the target without tuning."""

import json
import signal

from tests.workflow.checkout import eventually, running

FOLDER = "digits/relay/tuned"
TARGET = f"results/{FOLDER}/int8/latency.json"
KEPT = "results/logs/digits/relay/tuned/int8/autotvm.jsonl"


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
    kept = digits.path(KEPT)
    tune = f"results/{FOLDER}/int8/tune.json"
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
    log = digits.path(f"results/{FOLDER}/int8/tuning.log").read_text()
    assert log == kept.read_text()
    assert digits.outcome(f"{FOLDER}/int8/compile").state == "ok"

    latency = json.loads(digits.path(TARGET).read_text())
    assert latency["untuned"]["samples"] == latency["latency"]["samples"]
    assert latency["untuned_speedup"]["median"] > 0
    baseline = json.loads(digits.path("results/digits/relay/cpu/int8/latency.json").read_text())
    assert baseline["untuned_speedup"] is None

    assert digits.stale("--", TARGET, config=tuned(2)) == set()
    assert digits.stale("--", TARGET, config=tuned(3)) == {
        f"{stage} {FOLDER}/{precision}"
        for precision in ("float32", "int8")
        for stage in ("tune", "compile", "export")
    } | {f"benchmark {FOLDER}/int8"}
