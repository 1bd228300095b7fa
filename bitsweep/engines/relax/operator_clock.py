"""What each operator of a compiled module takes, within a run of the whole."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

import numpy as np
import tvm
from tvm.runtime.vm import VMInstrumentReturnKind

from bitsweep.engines.relax.executor import Executor

_OF_THE_MACHINE = "vm."  # functions that are no kernels: allocation, checks of shapes


@dataclass(frozen=True)
class Call:
    """A call of a kernel: its name, and the shapes, types and sizes of its tensors, output last."""

    kernel: str
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    size_bytes: int


class OperatorClock(Executor):
    """A network whose kernels can be timed, by an instrument of the virtual machine."""

    def __init__(self, library, image: np.ndarray):
        """Take a library as `Executor` does, and an image (C, H, W), on which it runs once."""
        super().__init__(library)
        self.set_input(image)
        self.calls: list[Call] = []
        self._taken: list[list[float]] = []

        def look(_kernel, symbol, before, _result, *arguments):
            if before and not symbol.startswith(_OF_THE_MACHINE):
                self.calls.append(_call(symbol, arguments))
            return VMInstrumentReturnKind.NO_OP

        self.run_with(look)

    def time_operators(self) -> None:
        """Time each of `calls` in one run on the input last set."""
        taken: list[int] = []
        by_itself: list[int] = []  # what the clock takes
        nothing = tvm.get_global_func("vm.builtin.null_value")

        def clock(kernel, symbol, before, _result, *arguments):
            if not before or symbol.startswith(_OF_THE_MACHINE):
                return VMInstrumentReturnKind.NO_OP
            # Called from here, so that the clock's own calls are not in what it measures.
            start = perf_counter_ns()
            kernel(*arguments)
            end = perf_counter_ns()
            nothing()
            by_itself.append(perf_counter_ns() - end)
            taken.append(end - start)
            return VMInstrumentReturnKind.SKIP_RUN

        # Twice: else the first operator would wake the threads.
        self.run_with(clock, runs=2)
        self._taken.append([(one - median(by_itself)) / 1e6 for one in taken[len(taken) // 2 :]])

    def taken(self) -> list[list[float]]:
        """Return the milliseconds of each of `calls` in each run that timed them."""
        return self._taken


def _call(kernel: str, arguments) -> Call:
    tensors = [a for a in arguments if isinstance(a, tvm.runtime.Tensor)]
    arrays = [tensor.numpy() for tensor in tensors]
    return Call(
        kernel,
        tuple(array.shape for array in arrays),
        tuple(str(array.dtype) for array in arrays),
        sum(array.nbytes for array in arrays),
    )
