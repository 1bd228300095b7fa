"""A compiled module, loaded and ready to run."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bitsweep.engines.refusal import asking
from bitsweep.engines.torch import inductor


class Executor:
    """The network in a module, TorchScript or TorchInductor's, or in a script, on the CPU, at
    batch size 1.

    TorchScript is optimised when it is loaded, which needs no compiler: its archive has no place
    for weights in the order that oneDNN wants.
    """

    def __init__(self, model: str | torch.jit.ScriptModule):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        if isinstance(model, str) and inductor.is_made_by_it(Path(model)):
            self._network = inductor.load(Path(model))
        else:
            if isinstance(model, str):
                with asking("torch.jit.load"):
                    model = torch.jit.load(model, map_location="cpu")
            with asking("torch.jit.optimize_for_inference"):
                self._network = torch.jit.optimize_for_inference(model)
        self._input = torch.empty(0)

    def set_input(self, image: np.ndarray) -> None:
        """Take an image, float32 (C, H, W)."""
        self._input = torch.from_numpy(np.ascontiguousarray(image[None]))

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (classes,), of an image."""
        self.set_input(image)
        with asking("torch.nn.Module.__call__"), torch.inference_mode():
            return self._network(self._input)[0].numpy()

    def time(self, runs: int, before: Callable[[], None] | None = None) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input last set, after one that is
        dropped; `before` is called before each."""
        taken = []
        with asking("torch.nn.Module.__call__"), torch.inference_mode():
            for _ in range(runs + 1):
                if before:
                    before()
                start = time.perf_counter()
                self._network(self._input)
                taken.append(1e3 * (time.perf_counter() - start))
        return taken[1:]
