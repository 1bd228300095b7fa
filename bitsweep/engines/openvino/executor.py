"""A compiled module, loaded and ready to run."""

import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import openvino

from bitsweep.engines.openvino.hint import HINT, noted, parted
from bitsweep.engines.refusal import asking

DEVICE = "CPU"
TYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def chosen(floats: str) -> dict[str, object]:
    """What models are compiled with, for as many threads as the task has; a blob remembers none."""
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]),
        HINT: TYPES[floats],
    }


class Executor:
    """The network in a module, a blob, or in a model, on the CPU, at batch size 1."""

    def __init__(self, model: str | openvino.Model, **more: object):
        core = openvino.Core()
        if isinstance(model, str):
            blob, floats = parted(Path(model).read_bytes())
            with asking("openvino.Core.import_model"):
                options = {**chosen(floats), **more}
                self._compiled = core.import_model(BytesIO(blob), DEVICE, options)
        else:
            with asking("openvino.Core.compile_model"):
                self._compiled = core.compile_model(model, DEVICE, chosen(noted(model)))
        self._request = self._compiled.create_infer_request()

    def set_input(self, image: np.ndarray) -> None:
        """Take an image, float32 (C, H, W)."""
        self._request.set_input_tensor(openvino.Tensor(np.ascontiguousarray(image[None])))

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (classes,), of an image."""
        with asking("openvino.InferRequest.infer"):
            self.set_input(image)
            self._request.infer()
            return self._request.get_output_tensor(0).data[0].astype(np.float32)

    def time(self, runs: int, before: Callable[[], None] | None = None) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input last set, after one that is
        dropped; `before` is called before each."""
        taken = []
        with asking("openvino.InferRequest.infer"):
            for _ in range(runs + 1):
                if before:
                    before()
                start = time.perf_counter()
                self._request.infer()
                taken.append(1e3 * (time.perf_counter() - start))
        return taken[1:]
