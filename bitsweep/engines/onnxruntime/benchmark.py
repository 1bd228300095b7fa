"""Benchmark: a module's latency, its float32 baseline's measured in the same process in turn."""

from bitsweep.engines import running
from bitsweep.engines.onnxruntime.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Measure `module` in alternation with `baseline`, which may be None; write `samples`."""
    running.benchmark(Executor, inputs, outputs, settings)
