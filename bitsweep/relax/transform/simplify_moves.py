"""Simplify moves: what leaves a tensor's elements in their order is one reshape, or nothing.

Frontends turn a tensor one way to compute on it and back again; once what is between has become one
operator, the turns cancel. Where each element comes from tells, however it got there.
"""

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.moves import is_move, moved


def simplify_moves(mod: tvm.IRModule) -> tvm.IRModule:
    """Return the module with chains of two moves and more that change no order as one reshape."""
    function = graph.main_of(mod)
    definitions = {binding.var: binding.value for binding in graph.bindings(function)}
    moving = {var for var, value in definitions.items() if is_move(value)}
    read = {
        var
        for binding in graph.bindings(function)
        if binding.var not in moving
        for var in graph.variables(binding.value)
    } | set(graph.variables(function.body.body))
    pairs = []
    for binding in graph.bindings(function):
        value = binding.value
        if binding.var in moving & read:
            value = _simplified(binding.var, definitions, moving)
        pairs.append((binding.var, value))
    simplified = graph.with_bindings(mod, pairs)
    simplified = relax.transform.DeadCodeElimination()(simplified)
    return relax.transform.CanonicalizeBindings()(simplified)


def _simplified(var: relax.Var, definitions: dict, moving: set) -> relax.Expr:
    """The tensor that `var` is moved from, in its shape; the last move if the order differs."""
    steps, shape = [var], op.shape_of(var)
    while (source := graph.variables(definitions[steps[-1]])[0]) in moving:
        steps.append(source)
    if len(steps) < 2 or not isinstance(source.ty, relax.TensorType):
        return definitions[var]
    size = int(np.prod(shape))
    if size != np.prod(op.shape_of(source)):
        return definitions[var]
    places = np.arange(size).reshape(op.shape_of(source))
    for step in reversed(steps):
        places = moved(definitions[step], places)
    if not np.array_equal(places.ravel(), np.arange(size)):
        return definitions[var]
    return source if op.shape_of(source) == shape else relax.op.reshape(source, shape)
