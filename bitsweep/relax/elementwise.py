"""Functions of one tensor, element by element, in numpy: what a table of 256 entries can hold."""

import numpy as np
import tvm
from scipy import special
from tvm import relax

from bitsweep.relax import graph

UNARY = {
    "relax.nn.relu": lambda x: np.maximum(x, 0),
    "relax.nn.gelu": lambda x: x * special.ndtr(x),
    "relax.nn.gelu_tanh": lambda x: (
        0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    ),
    "relax.nn.silu": lambda x: x * special.expit(x),
    "relax.sigmoid": special.expit,
    "relax.tanh": np.tanh,
    "relax.exp": np.exp,
    "relax.erf": special.erf,
    "relax.abs": np.abs,
    "relax.negative": np.negative,
    "relax.square": np.square,
    "relax.clip": np.clip,
    "relax.nn.leakyrelu": lambda x, alpha: np.where(x > 0, x, alpha * x),
}
BINARY = {
    "relax.add": np.add,
    "relax.subtract": np.subtract,
    "relax.multiply": np.multiply,
    "relax.divide": np.divide,
    "relax.maximum": np.maximum,
    "relax.minimum": np.minimum,
}


def is_known(value: relax.Expr) -> bool:
    """Whether `value` calls one of these functions on variables and scalars alone."""
    if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
        return False
    if value.op.name not in {**UNARY, **BINARY}:
        return False
    constants = [graph.array(arg) for arg in value.args]
    return all(constant is None or constant.size == 1 for constant in constants)


def evaluate(var: relax.Var, values: dict, definitions: dict) -> np.ndarray:
    """The value of `var`, float64, from the arrays of the variables that it depends on."""
    if var in values:
        return np.asarray(values[var], dtype=np.float64)
    call = definitions[var]
    name = call.op.name
    arguments = [
        evaluate(arg, values, definitions) if isinstance(arg, relax.Var) else number(arg)
        for arg in call.args
    ]
    if name == "relax.nn.leakyrelu":
        arguments.append(call.attrs.alpha)
    return {**UNARY, **BINARY}[name](*arguments)


def number(expr: relax.Expr) -> float:
    """The value of a scalar constant, of a tensor's or of TIR's kind."""
    constant = graph.array(expr)
    return float(expr.value if constant is None else constant.item())
