"""A Relax function as a straight line of bindings: what every pass reads and rebuilds."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
import tvm
from tvm import relax
from tvm.relax.analysis import post_order_visit

from bitsweep.relax import op
from bitsweep.relax.errors import NotQuantizable


def main_of(mod: tvm.IRModule, weights: Collection[str] = ()) -> relax.Function:
    """The function `main`; `ValueError` unless it is there and takes images alone.

    Raises `NotQuantizable` where it has control flow, and is no line of bindings.

    Of its parameters, `weights` names those that are weights.
    """
    if "main" not in [var.name_hint for var in mod.get_global_vars()]:
        raise ValueError("the module has no function main")
    function = mod["main"]
    images = [parameter for parameter in function.params if parameter.name not in weights]
    if len(images) != 1:
        raise ValueError(
            f"main takes {len(images)} parameters; it must take the images alone: bind "
            "weights with relax.transform.BindParams"
        )
    for binding in bindings(function):
        if not isinstance(binding, relax.VarBinding) or isinstance(
            binding.value, relax.If | relax.Function
        ):
            raise NotQuantizable(f"main has control flow at {binding.var.name}; inline it first")
    return function


def bindings(function: relax.Function) -> Iterator[relax.VarBinding]:
    """The bindings in their order."""
    for block in function.body.blocks:
        yield from block.bindings


def uses(function: relax.Function) -> Counter:
    """How often each variable is read, the function's result included."""
    count = Counter()

    def visit(expr):
        if isinstance(expr, relax.Var):
            count[expr] += 1

    for binding in bindings(function):
        post_order_visit(binding.value, visit)
    post_order_visit(function.body.body, visit)
    return count


def array(expr: relax.Expr) -> np.ndarray | None:
    """The value of a constant, None for anything else."""
    return expr.value.numpy() if isinstance(expr, tvm.ir.GenericConst) else None


def variables(value: relax.Expr) -> list[relax.Var]:
    """The variables that an expression reads, in the order of its arguments."""
    if isinstance(value, relax.Var):
        return [value]
    if isinstance(value, relax.TupleGetItem):
        return variables(value.tuple_value)
    parts = value.fields if isinstance(value, relax.Tuple) else getattr(value, "args", ())
    return [var for part in parts for var in variables(part)]


def replace(expr: relax.Expr, variables: dict[relax.Var, relax.Expr]) -> relax.Expr:
    """The expression with its variables replaced."""
    if isinstance(expr, relax.Var):
        return variables[expr]
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([replace(item, variables) for item in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(replace(expr.tuple_value, variables), expr.index)
    if isinstance(expr, tvm.ir.Call):
        arguments = [replace(arg, variables) for arg in expr.args]
        return tvm.ir.Call(expr.op, arguments, expr.attrs, expr.ty_args)
    return expr


def with_bindings(
    mod: tvm.IRModule,
    pairs: list[tuple[relax.Var, relax.Expr]],
    parameters: Iterable[relax.Var] = (),
) -> tvm.IRModule:
    """The module with other bindings in its `main`, whose variables stay the same, and with more
    `parameters`."""
    function = main_of(mod)
    lines = [relax.VarBinding(var, value) for var, value in pairs]
    body = relax.SeqExpr([relax.DataflowBlock(lines)], function.body.body)
    rebuilt = relax.Function(
        [*function.params, *parameters], body, function.ret_ty, True, function.attrs
    )
    return relax.transform.Normalize()(tvm.IRModule({"main": rebuilt}, attrs=mod.attrs))


def rebuilt(mod: tvm.IRModule, change: Callable[[relax.VarBinding], relax.Expr]) -> tvm.IRModule:
    """The module with the value that `change` has for each binding of its `main`, in the variables
    that are there; types are made anew."""
    function = main_of(mod)
    builder = relax.BlockBuilder()
    (image,) = function.params
    variables = {image: image}
    with builder.function("main", [image]):
        with builder.dataflow():
            for binding in bindings(function):
                variables[binding.var] = builder.emit(replace(change(binding), variables))
            result = builder.emit_output(replace(function.body.body, variables))
        builder.emit_func_output(result)
    return tvm.ir.IRModule({"main": builder.finalize()["main"]}, attrs=mod.attrs)


def images_of(mod: tvm.IRModule, data: np.ndarray) -> list[np.ndarray]:
    """Calibration data as inputs of the module, one an item; `ValueError` if it cannot be."""
    (parameter,) = main_of(mod).params
    batch, *shape = op.shape_of(parameter)
    data = np.asarray(data)
    if batch != 1:
        raise ValueError(f"the module takes {batch} images at once: quantize it for one")
    if data.ndim == 0 or len(data) == 0:
        raise ValueError("the calibration set is empty")
    if data.shape[1:] != tuple(shape):
        raise ValueError(
            f"calibration images are of shape {data.shape[1:]}, the module takes {tuple(shape)}"
        )
    if not np.issubdtype(data.dtype, np.floating):
        raise ValueError(f"calibration images are {data.dtype}, not float32")
    if not np.all(np.isfinite(data)):
        raise ValueError("the calibration set has NaN or infinities")
    return list(data.astype(np.float32, copy=False)[:, None])
