"""A target that is tuned for: a killed run goes on from its log, and speeds are paired with those
of the target without tuning."""

import json
import signal

import pytest

from tests.workflow.checkout import eventually, running


def tuned(engine, by, trials):
    return {
        "sweep": {
            "models": ["digits"],
            "engines": [engine],
            "targets": ["cpu", "tuned"],
            "precisions": ["float32", "int8"],
        },
        "targets": {"tuned": {"tuning": {"by": by, "trials": trials, "seconds": 100}}},
    }


@pytest.mark.parametrize(("engine", "by"), [("relay", "autotvm"), ("relax", "tiles")])
def test_a_killed_tuning_goes_on_from_what_it_has_measured(digits, engine, by):
    own = f"digits/{engine}/tuned/float32"
    kept = digits.path(f"results/logs/{own}/{by}.jsonl")
    tune, target = (f"results/{own}/{name}.json" for name in ("tune", "latency"))
    config = tuned(engine, by, 2)
    with running(digits, "--", tune, config=tuned(engine, by, 8)) as snakemake:
        eventually(lambda: kept.exists() and kept.read_text(), "a measurement")
        for process in digits.processes():
            process.send_signal(signal.SIGKILL)
        snakemake.wait()
        eventually(lambda: not digits.processes(), "all processes to end")
    measured = kept.read_text()
    assert not digits.path(tune).exists()

    digits.done("--unlock", config=config)
    digits.done("--", target, config=config)
    assert kept.read_text().startswith(measured[: measured.rfind("\n") + 1])
    assert digits.path(f"results/{own}/tuning.log").read_text() == kept.read_text()

    latency = json.loads(digits.path(target).read_text())
    assert latency["untuned"]["samples"] == latency["latency"]["samples"]
    assert latency["untuned_speedup"]["median"] > 0
    untuned = json.loads(digits.path(target.replace("tuned", "cpu")).read_text())
    assert untuned["untuned_speedup"] is None

    assert digits.stale("--", target, config=config) == set()
    assert digits.stale("--", target, config=tuned(engine, by, 3)) == {
        f"{stage} {own}" for stage in ("tune", "compile", "export", "benchmark")
    }
