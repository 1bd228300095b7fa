"""Compiled modules: their answers, and every tensor on the way there."""

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import build, graph


class Exposed:
    """A compiled module whose every tensor can be seen."""

    def __init__(self, mod: tvm.IRModule, target: tvm.target.Target):
        self.module = mod
        self.tensors = [
            binding
            for binding in graph.bindings(mod["main"])
            if isinstance(binding.var.ty, relax.TensorType)
        ]
        self._machine = relax.VirtualMachine(build(self._exposed(), target), tvm.cpu())

    def _exposed(self) -> tvm.IRModule:
        function = self.module["main"]
        (image,) = function.params
        builder = relax.BlockBuilder()
        variables = {image: image}
        with builder.function("main", [image]):
            with builder.dataflow():
                for binding in graph.bindings(function):
                    value = graph.replace(binding.value, variables)
                    variables[binding.var] = builder.emit(value)
                tensors = [variables[binding.var] for binding in self.tensors]
                result = builder.emit_output(relax.Tuple(tensors))
            builder.emit_func_output(result)
        return builder.finalize()

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors by the names of their variables, in the order of the bindings."""
        results = self._machine["main"](tvm.runtime.tensor(np.ascontiguousarray(image)))
        names = [binding.var.name for binding in self.tensors]
        return {name: result.numpy() for name, result in zip(names, results, strict=True)}

    def answers(self, images: np.ndarray) -> np.ndarray:
        """The results for images (N, …), one after the other."""
        result = self.module["main"].body.body.name
        return np.concatenate([self(image)[result] for image in images[:, None]])


def outputs(mod: tvm.IRModule, images: np.ndarray, target) -> np.ndarray:
    """What the compiled module answers to images (N, …), one after the other."""
    machine = relax.VirtualMachine(build(mod, target), tvm.cpu())
    each = (tvm.runtime.tensor(np.ascontiguousarray(image)) for image in images[:, None])
    return np.concatenate([machine["main"](image).numpy() for image in each])
