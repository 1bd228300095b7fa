"""What every engine does alike with a linked module, given the engine's `Executor`."""

from collections.abc import Callable

import numpy as np

from bitsweep import measurement
from bitsweep.engines.refusal import Refused

Loader = Callable[[str], "measurement.Executor"]


def run_once(load: Loader, inputs: dict, function: str) -> None:
    """Run `module` on the first image of `reference`; `Refused` for a wrong shape."""
    reference = np.load(inputs["reference"])
    answer = load(inputs["module"]).run(reference["input"][0])
    expected = reference["output"][0].shape
    if answer.shape != expected:
        raise Refused(
            function,
            "exception",
            "Mismatch",
            f"the module answers with shape {answer.shape}, PyTorch with {expected}",
        )


def answer(load: Loader, inputs: dict, outputs: dict) -> None:
    """Run `module` on the images of `reference`; write `answers`: npz, `output` (N, classes)."""
    executor = load(inputs["module"])
    images = np.load(inputs["reference"])["input"]
    np.savez(outputs["answers"], output=np.stack([executor.run(image) for image in images]))


def benchmark(load: Loader, inputs: dict, outputs: dict, settings: dict) -> None:
    """Measure `module` in alternation with `baseline`, which may be None; write `samples`."""
    measurement.measure(
        candidate=load(inputs["module"]),
        baseline=load(inputs["baseline"]) if inputs["baseline"] else None,
        input_shape=settings["input_shape"],
        settings=settings["benchmark"],
        samples=outputs["samples"],
    )
