"""Rounding in turn, every error fed back to the values that follow."""

import functools

import numpy as np
import tvm
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

from bitsweep.relax import grid
from bitsweep.relax.machine import host

_COLUMNS = 128  # of a block of rows: what the first cache holds


def round_with_feedback(
    values: np.ndarray, reference: np.ndarray, feedback: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return integers on the grid of `bits`, their errors, and what rounding itself took off.

    For every output, integer k is the nearest to values[k] + Σ_j<k feedback[j, k] · error[j], with
    error[j] = reference[j] − integer[j]; half-way is rounded up. That is rounding with linear
    feedback (Chee et al. 2023, arXiv:2307.13304, equation 2). `values` and `reference`, like what
    is returned, are (…, K, O), `feedback` is (…, K, K), floats of one dtype.

    Compiled, once a process, because a row is too little work for calls of numpy.
    """
    stacked = [array.reshape(-1, *array.shape[-2:]) for array in (values, reference, feedback)]
    values_, reference_, feedback_ = (tvm.runtime.tensor(array) for array in stacked)
    integers = tvm.runtime.empty(stacked[0].shape, str(values.dtype))
    _compiled(str(values.dtype))(
        values_, reference_, feedback_, integers, grid.spacing(bits), grid.limit(bits)
    )
    rounded, error, remainder = (
        np.from_dlpack(tensor).reshape(values.shape) for tensor in (integers, reference_, values_)
    )
    return rounded, error, remainder


@functools.cache
def _compiled(dtype: str) -> tvm.runtime.Module:
    return tvm.compile(tvm.IRModule({"main": _kernel(dtype)}), host())["main"]


def _kernel(dtype: str) -> tirx.PrimFunc:
    """A function of (values, reference, feedback, integers, spacing, limit) that leaves what
    rounding took off in `values` and the errors in `reference`."""
    groups, rows, columns = (tirx.Var(name, "int64") for name in ("groups", "rows", "columns"))
    with IRBuilder() as builder, T.prim_func(s_tir=True):
        T.func_attr({"global_symbol": "main", "tirx.noalias": True})
        values, error = (
            T.arg(name, T.buffer((groups, rows, columns), dtype)) for name in ("values", "error")
        )
        feedback = T.arg("feedback", T.buffer((groups, rows, rows), dtype))
        integers = T.arg("integers", T.buffer((groups, rows, columns), dtype))
        spacing, limit = (T.arg(name, tirx.Var(name, "int64")) for name in ("spacing", "limit"))
        with T.parallel(0, groups * ((columns + _COLUMNS - 1) // _COLUMNS)) as task:
            group, start = T.Bind(task % groups), T.Bind(task // groups * _COLUMNS)
            count = T.Bind(T.min(columns - start, _COLUMNS))
            distance, largest = T.Bind(T.Cast(dtype, spacing)), T.Bind(T.Cast(dtype, limit))
            # As in `grid.round_to_grid`: the odd numbers where neighbours are two apart.
            half = T.Bind(T.Cast(dtype, 1) - distance / T.Cast(dtype, 2))
            first = T.Bind(distance - T.Cast(dtype, 1))
            with T.serial(0, rows) as row:
                with T.serial(0, count) as lane:
                    at = [group, row, start + lane]
                    value = T.Bind(values[*at])
                    level = T.floor(value / distance + half) * distance + first
                    level = T.Bind(T.max(T.min(level, largest), -largest))
                    T.buffer_store(integers, level, at)
                    T.buffer_store(error, error[*at] - level, at)
                    T.buffer_store(values, value - level, at)
                with T.serial(0, rows - 1 - row) as ahead:
                    later = T.Bind(row + 1 + ahead)
                    factor = T.Bind(feedback[group, row, later])
                    with T.serial(0, count) as lane:
                        column = T.Bind(start + lane)
                        fed = values[group, later, column] + factor * error[group, row, column]
                        T.buffer_store(values, fed, [group, later, column])
    return builder.get()
