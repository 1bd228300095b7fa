"""What each layer of a compiled module takes, within a run of the whole."""

from collections.abc import Mapping
from itertools import count
from time import perf_counter_ns

import numpy as np
import tvm
from tvm.runtime.vm import VMInstrumentReturnKind

from bitsweep.engines.relax.executor import Executor


class LayerClock(Executor):
    """A network whose layers can be timed: a layer is the kernel that reads its packed weights.

    Layers of one shape share a kernel, so that its name does not tell which it is; the constant
    that it is given does. What TVM fuses with a layer counts as the layer's.
    """

    def __init__(self, library, weights: Mapping[str, np.ndarray], image: np.ndarray):
        """Take a library as `Executor` does, weights (of any shape) by layer, an image (C, H, W).

        Raises `ValueError` where no kernel reads some layer's weights.
        """
        super().__init__(library)
        self.set_input(image)
        self._layers = self._layers_by_call(weights)
        if missing := sorted(weights.keys() - self._layers.values()):
            raise ValueError(f"no kernel reads the weights of {', '.join(missing)}")

    def time_layers(self) -> dict[str, float]:
        """Return the milliseconds of each layer, in one run on the input last set."""
        calls, taken = count(), {}

        def clock(kernel, _symbol, before, _result, *arguments):
            layer = self._layers.get(next(calls)) if before else None
            if layer is None:
                return VMInstrumentReturnKind.NO_OP
            # Called from here, so that the clock's own calls are not in what it measures.
            start = perf_counter_ns()
            kernel(*arguments)
            taken[layer] = (perf_counter_ns() - start) / 1e6
            return VMInstrumentReturnKind.SKIP_RUN

        self.run_with(clock)
        return taken

    def _layers_by_call(self, weights: Mapping[str, np.ndarray]) -> dict[int, str]:
        """The layers by the number, in a run, of the call of their kernel."""
        left: dict[tuple, list[str]] = {}
        for name, array in weights.items():
            left.setdefault((array.shape, array.tobytes()), []).append(name)
        calls, layers = count(), {}

        def look(_kernel, _symbol, before, _result, *arguments):
            if before:
                call = next(calls)
                for tensor in arguments:
                    if isinstance(tensor, tvm.runtime.Tensor):
                        array = tensor.numpy()
                        if names := left.get((array.shape, array.tobytes())):
                            layers[call] = names.pop(0)  # of equal weights, in order
            return VMInstrumentReturnKind.NO_OP

        self.run_with(look)
        return layers
