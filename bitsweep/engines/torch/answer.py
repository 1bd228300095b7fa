"""Evaluate: a module's answers to the reference images."""

from bitsweep.engines import running
from bitsweep.engines.torch.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Run `module` on the images of `reference`; write `answers`: npz, `output` (N, classes)."""
    running.answer(Executor, inputs, outputs)
