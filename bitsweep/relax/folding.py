"""Operators on constants alone, in numpy: what exporters leave of positions, masks and shifts."""

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import op
from bitsweep.relax.moves import is_move, moved

_OF_ARRAYS = {
    "relax.mod": np.mod,
    "relax.equal": np.equal,
    "relax.not_equal": np.not_equal,
    "relax.logical_not": np.logical_not,
    "relax.where": np.where,
}


def folded(call: relax.Expr, arguments: list) -> np.ndarray | None:
    """The value of a call of constants; None where it is not known, or one is no constant.

    `arguments` are the call's, arrays where they are constants.
    """
    if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op):
        return None
    name, arrays = call.op.name, [a for a in arguments if isinstance(a, np.ndarray)]
    dtype = getattr(call.ty, "dtype", None)
    if name == "relax.full" and arrays:
        return np.full(op.shape_of(call), arrays[0], str(dtype))
    if name == "relax.arange":
        start, end, step = (int(argument.value) for argument in arguments)
        return np.arange(start, end, step, str(dtype))
    if not arguments or not isinstance(arguments[0], np.ndarray):
        return None
    if name == "relax.astype":
        return arrays[0].astype(str(dtype))
    if name == "relax.slice_scatter":
        return _scattered(call, *arguments) if len(arrays) == 2 else None
    if name == "relax.take":
        data, indices = arguments
        if not isinstance(indices, np.ndarray) or call.attrs.axis is None:
            return None
        return np.take(data, indices, axis=int(call.attrs.axis), mode="wrap")
    if name in _OF_ARRAYS and len(arrays) == len(arguments):
        return _OF_ARRAYS[name](*arrays)
    return moved(call, arrays[0]) if len(arrays) == 1 and is_move(call) else None


def _scattered(call, data, part, start, end, step) -> np.ndarray:
    whole = data.copy()
    where = [slice(None)] * data.ndim
    where[int(call.attrs.axis)] = slice(int(start.value), int(end.value), int(step.value))
    whole[tuple(where)] = part
    return whole
