"""A compiled module, loaded and ready to run."""

import os
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import openvino

from bitsweep.engines.refusal import asking_tvm

DEVICE = "CPU"


def chosen() -> dict[str, object]:
    """What models are compiled with, for as many threads as the task has.

    Floats are float32's: else bfloat16 takes their place where a CPU has it. A blob remembers none
    of it.
    """
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]),
        "INFERENCE_PRECISION_HINT": "f32",
    }


class Executor:
    """The network in a module, a blob, or in a model, on the CPU, at batch size 1."""

    def __init__(self, model: str | openvino.Model, **more: object):
        core, options = openvino.Core(), {**chosen(), **more}
        if isinstance(model, str):
            with asking_tvm("openvino.Core.import_model"):
                blob = BytesIO(Path(model).read_bytes())
                self._compiled = core.import_model(blob, DEVICE, options)
        else:
            with asking_tvm("openvino.Core.compile_model"):
                self._compiled = core.compile_model(model, DEVICE, options)
        self._request = self._compiled.create_infer_request()

    def set_input(self, image: np.ndarray) -> None:
        """Take an image, float32 (C, H, W)."""
        self._request.set_input_tensor(openvino.Tensor(np.ascontiguousarray(image[None])))

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (classes,), of an image."""
        with asking_tvm("openvino.InferRequest.infer"):
            self.set_input(image)
            self._request.infer()
            return self._request.get_output_tensor(0).data[0].astype(np.float32)

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input last set, after one that is
        dropped."""
        taken = []
        with asking_tvm("openvino.InferRequest.infer"):
            for _ in range(runs + 1):
                start = time.perf_counter()
                self._request.infer()
                taken.append(1e3 * (time.perf_counter() - start))
        return taken[1:]
