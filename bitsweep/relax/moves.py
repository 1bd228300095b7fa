"""Operators that only move data, in numpy."""

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op

_RESHAPES = ("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten")


def is_reshape(value: relax.Expr | None) -> bool:
    """Whether `value` leaves the elements of its first argument in their order."""
    if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
        return False
    if value.op.name == "relax.broadcast_to":
        return op.shape_of(value.args[0]) == op.shape_of(value)
    if value.op.name == "relax.nn.pad":
        return not any(int(pad) for pad in value.attrs.pad_width)
    if value.op.name == "relax.permute_dims":
        shape, axes = op.shape_of(value.args[0]), _axes(value)
        long = [axis for axis in axes if shape[axis] != 1]
        return long == sorted(long)
    return value.op.name in _RESHAPES


def is_move(value: relax.Expr | None) -> bool:
    """Whether `moved` knows the call `value`, or it is an item of a tuple."""
    if isinstance(value, relax.TupleGetItem):
        return True
    if not isinstance(value, tvm.ir.Call) or not isinstance(value.op, tvm.ir.Op):
        return False
    if value.op.name == "relax.take":
        return value.attrs.axis is not None and graph.array(value.args[1]) is not None
    return is_reshape(value) or value.op.name in _MOVES


def moved(value: relax.Expr, source: np.ndarray | list):
    """What the move `value` makes of its first argument: an array, or a list for a tuple."""
    if isinstance(value, relax.TupleGetItem):
        return source[value.index]
    if is_reshape(value):
        return source.reshape(op.shape_of(value))
    return _MOVES[value.op.name](value, source)


def _permute_dims(call: relax.Expr, source: np.ndarray) -> np.ndarray:
    return source.transpose(_axes(call))


def _axes(call: relax.Expr) -> list[int]:
    axes = call.attrs.axes
    dimensions = len(op.shape_of(call.args[0]))
    return [int(axis) % dimensions for axis in axes] if axes else [*range(dimensions)][::-1]


def _take(call: relax.Expr, source: np.ndarray) -> np.ndarray:
    return np.take(source, graph.array(call.args[1]), axis=int(call.attrs.axis), mode="wrap")


def _strided_slice(call: relax.Expr, source: np.ndarray) -> np.ndarray:
    axes, starts, ends, *steps = ([_integer(i) for i in part.fields] for part in call.args[1:])
    steps = steps[0] if steps else [1] * len(axes)
    part = [slice(None)] * source.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        part[axis] = slice(start, end, step)
    return source[tuple(part)]


def _split(call: relax.Expr, source: np.ndarray) -> list[np.ndarray]:
    sections = call.attrs.indices_or_sections
    sections = int(sections) if not hasattr(sections, "__len__") else [int(s) for s in sections]
    return np.split(source, sections, axis=int(call.attrs.axis))


def _integer(expr) -> int:
    value = expr.value
    return int(getattr(value, "value", value))


_MOVES = {
    "relax.permute_dims": _permute_dims,
    "relax.take": _take,
    "relax.strided_slice": _strided_slice,
    "relax.split": _split,
}
