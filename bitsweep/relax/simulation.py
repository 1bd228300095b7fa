"""A network quantized to any bits, simulated in floats: compiled once, whole."""

from collections.abc import Iterable

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.compiler import pipeline
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.kernels import packing
from bitsweep.relax.transform.calibrate import levels


class Simulation:
    """An annotated module whose weights, biases and scales are arguments of what is compiled.

    A mark gives the real values that its integers stand for, a convolution is of floats.
    """

    def __init__(self, mod: tvm.IRModule, target: tvm.target.Target):
        self._arguments: list[relax.Var] = []
        pairs = [
            (binding.var, self._with_arguments(binding.var, binding.value))
            for binding in graph.bindings(graph.main_of(mod))
        ]
        with_arguments = graph.with_bindings(mod, pairs, self._arguments)
        executable = relax.build(with_arguments, target, relax_pipeline=pipeline(target))
        self._machine = relax.VirtualMachine(executable, tvm.cpu())

    def _with_arguments(self, var: relax.Var, call: relax.Expr) -> relax.Expr:
        if op.is_call(call, "bitsweep.conv2d"):
            shape = packing.packed_float_shape(op.shape_of(call.args[1]), call.attrs["groups"])
            weight = self._argument(f"{var.name}_weight", shape)
            bias = self._argument(f"{var.name}_bias", op.shape_of(call.args[2]))
            arguments = [call.args[0], weight, bias, *call.args[3:]]
            return op.call("conv2d", arguments, op.attributes(call) | {"packed": True})
        if op.is_call(call, "bitsweep.fake_quantize"):
            scale, low, high = (
                self._argument(f"{var.name}_{name}", (1,)) for name in ("scale", "low", "high")
            )
            steps = relax.op.round(relax.op.divide(call.args[0], scale))
            clipped = relax.op.minimum(relax.op.maximum(steps, low), high)
            return relax.op.multiply(clipped, scale)
        return call

    def _argument(self, name: str, shape: tuple[int, ...]) -> relax.Var:
        argument = relax.Var(name, relax.TensorType(shape, "float32"))
        self._arguments.append(argument)
        return argument

    def answers(self, mod: tvm.IRModule, images: Iterable[np.ndarray]) -> np.ndarray:
        """Return the answers, (N, classes), of the module with its marks calibrated and its weights
        rounded, to images (1, …)."""
        bindings = {binding.var: binding.value for binding in graph.bindings(graph.main_of(mod))}
        arguments = [
            tensor for call in bindings.values() for tensor in _arguments_of(call, bindings)
        ]
        main = self._machine["main"]
        return np.concatenate(
            [main(tvm.runtime.tensor(image), *arguments).numpy() for image in images]
        )


def _arguments_of(call: relax.Expr, bindings: dict) -> list[tvm.runtime.Tensor]:
    if op.is_call(call, "bitsweep.conv2d"):
        weight = _real(call.args[1], bindings)
        bias = graph.array(call.args[2])
        return [Evaluator.packed(weight, call.attrs["groups"]), tvm.runtime.tensor(bias)]
    if op.is_call(call, "bitsweep.fake_quantize"):
        values = (call.attrs["scale"], *levels(call))
        return [tvm.runtime.tensor(np.array([value], np.float32)) for value in values]
    return []


def _real(weight: relax.Expr, bindings: dict) -> np.ndarray:
    """The real values of a convolution's weights, a constant or integers with their scales."""
    if not isinstance(weight, relax.Var):
        return graph.array(weight)
    integers, scales = (graph.array(argument) for argument in bindings[weight].args[:2])
    return (integers * scales.reshape(-1, 1, 1, 1)).astype(np.float32)
