"""A compiled module, loaded and ready to run."""

from collections.abc import Callable

import numpy as np
import tvm
from tvm.contrib import graph_executor

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay import INPUT

_BEFORE = "bitsweep.before_a_run"


class Executor:
    """The network in a `module.so`, on the CPU, at batch size 1."""

    def __init__(self, path: str):
        self.device = tvm.cpu()
        with asking("tvm.runtime.load_module"):
            library = tvm.runtime.load_module(path)
            self._graph = graph_executor.GraphModule(library["default"](self.device))

    def set_input(self, image: np.ndarray) -> None:
        """Take an image, float32 (C, H, W)."""
        self._graph.set_input(INPUT, image[None])

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (classes,), of an image."""
        with asking("graph_executor.GraphModule.run"):
            self.set_input(image)
            self._graph.run()
            return self._graph.get_output(0).numpy()[0].astype(np.float32)

    def time(self, runs: int, before: Callable[[], None] | None = None) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input last set; `before` is called
        before each.

        TVM's time evaluator runs once more, first, and drops that run: what it measures is
        independent of the module that ran before.
        """
        with asking("Module.time_evaluator"):
            if before:
                tvm.register_func(_BEFORE, lambda *_: before(), override=True)
            evaluator = self._graph.module.time_evaluator(
                "run", self.device, number=1, repeat=runs, f_preproc=_BEFORE if before else ""
            )
            return [1e3 * seconds for seconds in evaluator().results]
