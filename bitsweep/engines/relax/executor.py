"""A compiled module, loaded and ready to run."""

from collections.abc import Callable

import numpy as np
import tvm
from tvm.runtime.vm import VirtualMachine

from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import MAIN

_SAVED = "saved"
_BEFORE = "bitsweep.before_a_run"


class Executor:
    """The network in a `module.so`, or in a library just built, on the CPU, at batch size 1."""

    def __init__(self, library: str | tvm.runtime.Module | tvm.runtime.Executable):
        self.device = tvm.cpu()
        if isinstance(library, str):
            with asking("tvm.runtime.load_module"):
                library = tvm.runtime.load_module(library)
        with asking("relax.VirtualMachine"):
            self._machine = VirtualMachine(library, self.device)
            self._image = None

    def set_input(self, image: np.ndarray) -> None:
        """Take an image, float32 (C, H, W)."""
        self._image = tvm.runtime.tensor(np.ascontiguousarray(image[None]), self.device)

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits, float32 (classes,), of an image."""
        with asking("relax.VirtualMachine"):
            self.set_input(image)
            return self._machine[MAIN](self._image).numpy()[0].astype(np.float32)

    def time(self, runs: int, before: Callable[[], None] | None = None) -> list[float]:
        """Return the milliseconds of each of `runs` runs on the input last set; `before` is called
        before each.

        TVM's time evaluator runs once more, first, and drops that run: what it measures is
        independent of the module that ran before.
        """
        with asking("Module.time_evaluator"):
            self._machine.save_function(MAIN, _SAVED, self._image, include_return=False)
            if before:
                tvm.register_global_func(_BEFORE, lambda *_: before(), override=True)
            evaluator = self._machine.time_evaluator(
                _SAVED, self.device, number=1, repeat=runs, f_preproc=_BEFORE if before else ""
            )
            return [1e3 * seconds for seconds in evaluator().results]

    def run_with(self, instrument: Callable, runs: int = 1) -> tvm.runtime.Tensor:
        """Run on the input last set with an instrument of TVM's virtual machine."""
        with asking("relax.VirtualMachine"):
            self._machine.set_instrument(instrument)
            try:
                for _ in range(runs):
                    answer = self._machine[MAIN](self._image)
                return answer
            finally:
                self._machine.set_instrument(None)
