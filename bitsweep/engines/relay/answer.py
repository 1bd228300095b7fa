"""Evaluate: a module's answers to the reference images."""

import numpy as np

from bitsweep.engines.relay.executor import Executor


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Run `module` on the images of `reference`; write `answers`: npz, `output` (N, classes)."""
    executor = Executor(inputs["module"])
    images = np.load(inputs["reference"])["input"]
    np.savez(outputs["answers"], output=np.stack([executor.run(image) for image in images]))
