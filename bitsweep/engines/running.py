"""What every engine does alike with a linked module, given the engine's `Executor`."""

import json
import os
from collections.abc import Callable

import numpy as np

from bitsweep import measurement
from bitsweep.engines import caches
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


def serve(load: Loader, inputs: dict, settings: dict) -> None:
    """Time `module` block by block, as `lockstep` asks at the other end of two pipes.

    `settings["channel"]` are the file descriptors of commands and of answers. Once the module is
    loaded there is an empty answer; then a command is the number of an input and of runs, and the
    answer, JSON, the milliseconds of each run, before which caches are emptied where
    `settings["benchmark"]` has `cold`. It ends when the commands do.
    """
    commands, answers = settings["channel"]
    executor, seed = load(inputs["module"]), settings["benchmark"]["seed"]
    before = caches.evictor() if settings["benchmark"]["cold"] else None
    with os.fdopen(commands) as asked, os.fdopen(answers, "w") as told:
        print(file=told, flush=True)
        for command in asked:
            number, runs = map(int, command.split())
            executor.set_input(measurement.image(settings["input_shape"], seed, number))
            print(json.dumps(executor.time(runs, before)), file=told, flush=True)
