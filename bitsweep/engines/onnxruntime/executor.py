"""A compiled module, loaded and ready to run."""

import time
from collections.abc import Callable

import numpy as np

from bitsweep.engines.onnxruntime import session
from bitsweep.engines.refusal import asking


class Executor:
    """The network in a module, an optimised ONNX model, on the CPU, at batch size 1."""

    def __init__(self, model: str | bytes, *, optimised: bool = True):
        self._session = session.open_(model, session.options(optimised=optimised))
        (parameter,) = self._session.get_inputs()
        self._name, self._feed = parameter.name, {}

    def set_input(self, image: np.ndarray) -> None:
        """Take an image, float32 (C, H, W)."""
        self._feed = {self._name: np.ascontiguousarray(image[None])}

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (classes,), of an image."""
        self.set_input(image)
        with asking("onnxruntime.InferenceSession.run"):
            return self._session.run(None, self._feed)[0][0].astype(np.float32)

    def time(self, runs: int, before: Callable[[], None] | None = None) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input last set, after one that is
        dropped; `before` is called before each."""
        taken = []
        with asking("onnxruntime.InferenceSession.run"):
            for _ in range(runs + 1):
                if before:
                    before()
                start = time.perf_counter()
                self._session.run(None, self._feed)
                taken.append(1e3 * (time.perf_counter() - start))
        return taken[1:]
