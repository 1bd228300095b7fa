"""Run a float module one binding at a time, with whatever weights: what calibration looks into."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.compiler import pipeline
from bitsweep.relax.kernels import packing

Array = np.ndarray | list[np.ndarray]


class Evaluator:
    """A canonical or annotated module whose bindings are compiled as functions of their inputs.

    A convolution is compiled without residual and clipping, which `convolve` leaves to its caller;
    where the module's own answers are asked for, by `finish`, with them too.
    """

    def __init__(self, mod: tvm.IRModule, target: tvm.target.Target, *, finishing: bool = False):
        self.function = graph.main_of(mod)
        self.bindings = list(graph.bindings(self.function))
        self._names: dict[relax.Var, str] = {}
        self._whole: dict[relax.Var, str] = {}
        builder = relax.BlockBuilder()
        for index, binding in enumerate(self.bindings):
            if self._is_compiled(binding.value):
                self._names[binding.var] = f"binding_{index}"
                self._define(builder, f"binding_{index}", binding.value)
                if finishing and op.is_call(binding.value, "bitsweep.conv2d"):
                    self._whole[binding.var] = f"whole_{index}"
                    self._define(builder, f"whole_{index}", binding.value, whole=True)
        executable = relax.build(builder.finalize(), target, relax_pipeline=pipeline(target))
        self._machine = relax.VirtualMachine(executable, tvm.cpu())
        last_read = {
            var: index
            for index, binding in enumerate(self.bindings)
            for var in graph.variables(binding.value)
        }
        self._dead: dict[int, list[relax.Var]] = {}
        result = set(graph.variables(self.function.body.body))
        for var, index in last_read.items():
            if var not in result:
                self._dead.setdefault(index, []).append(var)

    @staticmethod
    def _is_compiled(value: relax.Expr) -> bool:
        return isinstance(value, tvm.ir.Call) and not op.is_call(value, "bitsweep.fake_quantize")

    @staticmethod
    def _define(
        builder: relax.BlockBuilder, name: str, value: relax.Expr, whole: bool = False
    ) -> None:
        if op.is_call(value, "bitsweep.conv2d"):
            attrs = op.attributes(value) | {"packed": True}
            if not whole:
                attrs["clip_min"], attrs["clip_max"] = op.NO_CLIP
            weight = op.shape_of(value.args[1])
            shape = packing.packed_float_shape(weight, attrs["groups"])
            data = relax.Var("data", value.args[0].ty)
            packed = relax.Var("weight", relax.TensorType(shape, "float32"))
            if whole:
                residual = [relax.Var("residual", arg.ty) for arg in value.args[3:]]
                parameters = [data, packed, *residual]
                body = op.call("conv2d", [data, packed, value.args[2], *residual], attrs)
            else:
                parameters = [data, packed, relax.Var("bias", value.args[2].ty)]
                body = op.call("conv2d", parameters, attrs)
        else:
            read = graph.variables(value)
            parameters = [relax.Var(f"argument_{i}", var.ty) for i, var in enumerate(read)]
            body = graph.replace(value, dict(zip(read, parameters, strict=True)))
        with builder.function(name, parameters):
            with builder.dataflow():
                result = builder.emit_output(builder.emit(body))
            builder.emit_func_output(result)

    def convolve(
        self, binding: relax.VarBinding, data: np.ndarray, packed: tvm.runtime.Tensor
    ) -> np.ndarray:
        """A convolution's sums, without bias, residual and clipping. `packed` is from `packed`."""
        bias = np.zeros(binding.value.attrs["channels"], np.float32)
        return self._call(binding.var, [data, packed, bias])

    @staticmethod
    def packed(weight: np.ndarray, groups: int) -> tvm.runtime.Tensor:
        """Weights (O, KH, KW, C / groups), float32, as `convolve` takes them."""
        return tvm.runtime.tensor(packing.pack_float(weight, groups))

    def apply(self, binding: relax.VarBinding, values: Mapping[relax.Var, Array]) -> Array:
        """The value of any other binding, from those of the variables that it reads."""
        value = binding.value
        if isinstance(value, relax.Var):
            return values[value]
        if isinstance(value, relax.TupleGetItem):
            return values[value.tuple_value][value.index]
        if isinstance(value, relax.Tuple):
            return [values[field] for field in value.fields]
        return self._call(binding.var, [values[var] for var in graph.variables(value)])

    def finish(self, index: int, values: Mapping[relax.Var, Array], packed: Mapping) -> np.ndarray:
        """The value of the function, from what is alive after the binding of this index.

        `packed` has the weights, from `packed`, of every convolution that follows.
        """
        alive = {var: _as_tensors(value) for var, value in values.items()}
        for later, binding in enumerate(self.bindings[index + 1 :], index + 1):
            var, value = binding.var, binding.value
            if isinstance(value, relax.Var) or op.is_call(value, "bitsweep.fake_quantize"):
                alive[var] = alive[value if isinstance(value, relax.Var) else value.args[0]]
            elif isinstance(value, relax.TupleGetItem):
                alive[var] = alive[value.tuple_value][value.index]
            elif isinstance(value, relax.Tuple):
                alive[var] = [alive[field] for field in value.fields]
            elif op.is_call(value, "bitsweep.conv2d"):
                data, residual = alive[value.args[0]], [alive[arg] for arg in value.args[3:]]
                alive[var] = self._machine[self._whole[var]](data, packed[var], *residual)
            else:
                read = [alive[argument] for argument in graph.variables(value)]
                alive[var] = self._machine[self._names[var]](*read)
            for dead in self.dead_after(later):
                alive.pop(dead, None)
        return np.from_dlpack(alive[self.function.body.body])

    def _call(self, var: relax.Var, arguments: Sequence) -> Array:
        result = self._machine[self._names[var]](*map(_as_tensors, arguments))
        if isinstance(result, tvm.runtime.Tensor):
            return np.from_dlpack(result)
        return [np.from_dlpack(item) for item in result]

    def run(
        self,
        image: np.ndarray,
        visit: Callable[[relax.VarBinding, dict[relax.Var, Array]], Array],
    ) -> np.ndarray:
        """Walk the bindings, `visit` giving the value of each; return that of the function."""
        (parameter,) = self.function.params
        values: dict[relax.Var, Array] = {parameter: image}
        for index, binding in enumerate(self.bindings):
            values[binding.var] = visit(binding, values)
            for var in self._dead.get(index, ()):
                values.pop(var, None)
        return values[self.function.body.body]

    def dead_after(self, index: int) -> list[relax.Var]:
        """The variables that nothing reads after the binding of this index."""
        return self._dead.get(index, [])


def _as_tensors(value):
    if isinstance(value, list):
        return [_as_tensors(item) for item in value]
    return tvm.runtime.tensor(value) if isinstance(value, np.ndarray) else value
