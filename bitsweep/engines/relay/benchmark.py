"""Benchmark: a module's latency, its float32 baseline's measured in the same process in turn."""

from bitsweep import measurement
from bitsweep.engines.relay.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Measure `module` in alternation with `baseline`, which may be None; write `samples`."""
    measurement.measure(
        candidate=Executor(inputs["module"]),
        baseline=Executor(inputs["baseline"]) if inputs["baseline"] else None,
        settings=settings["benchmark"],
        samples=outputs["samples"],
    )
