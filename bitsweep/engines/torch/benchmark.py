"""Benchmark: a module's latency, which a process of its own takes when it is asked to."""

from bitsweep.engines import running
from bitsweep.engines.torch.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Time `module` as `settings["channel"]` asks."""
    running.serve(Executor, inputs, settings)
