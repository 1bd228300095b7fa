"""Self-attention as frontends write it: softmax(scale · q·kᵀ + bias)·v of one tensor's parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.kernels.packing import LANES
from bitsweep.relax.moves import is_move, is_reshape, moved

_GUARD = ["logical_not", "astype", "max", "astype", "logical_not", "equal"]
"""How PyTorch asks whether softmax was given nothing but −∞, from the question to the scores."""


@dataclass(frozen=True)
class SelfAttention:
    """What `bitsweep.attention` takes (`op.call`), and the tensor that it reads."""

    source: relax.Var
    attrs: dict
    bias: np.ndarray | None
    kind: np.ndarray | None


@dataclass(frozen=True)
class _View:
    """A tensor whose elements are those of `source` with these indices, times a factor."""

    source: relax.Var
    indices: np.ndarray | list
    factor: float = 1.0


@dataclass(frozen=True)
class _Scores:
    """factor · (the product `call`) + bias, which has the shape of the tensor."""

    call: relax.Expr
    bias: np.ndarray
    factor: float = 1.0


def match(
    call: relax.Expr,
    definitions: Mapping[relax.Var, relax.Expr],
    constant: Callable[[relax.Expr], np.ndarray | None],
) -> SelfAttention | None:
    """The attention whose last product is `call`, a matmul; None where it is none.

    Keys, queries and values must be parts of one tensor whose last axis has them side by side, a
    head's together, in heads of whole vectors; and the bias a constant. `constant` gives the value
    of an expression that has one.
    """
    return _Matcher(definitions, constant).attention(call)


class _Matcher:
    def __init__(self, definitions, constant):
        self.definitions = definitions
        self.constant = constant

    def attention(self, call: relax.Expr) -> SelfAttention | None:
        softmax = self.softmax(call.args[0])
        if softmax is None or int(softmax.attrs.axis) not in (-1, len(op.shape_of(softmax)) - 1):
            return None
        scores = self.scores(softmax.args[0])
        if scores is None or not np.all(np.isfinite(scores.bias)):
            return None
        query, key = (self.view(argument) for argument in scores.call.args)
        value = self.view(call.args[1])
        views = (query, key, value)
        if any(v is None or v.source != query.source for v in views) or value.factor != 1:
            return None
        parts = [query.indices, key.indices.swapaxes(-1, -2), value.indices]
        *_, tokens, size = parts[0].shape
        *outer, rows, channels = op.shape_of(query.source)
        windows = int(np.prod(outer)) * rows // tokens
        heads = parts[0].size // (windows * tokens * size)
        if size % LANES or windows * tokens != int(np.prod(outer)) * rows:
            return None
        shape = (windows, heads, tokens, size)
        offsets = [int(part.flat[0]) for part in parts]
        window, head, token, element = np.ogrid[tuple(slice(extent) for extent in shape)]
        places = (window * tokens + token) * channels + head * size + element
        for part, offset in zip(parts, offsets, strict=True):
            if part.size != places.size or not np.array_equal(part.reshape(shape), places + offset):
                return None
        bias = kind = None
        if scores.bias.any():
            own = scores.bias.reshape(windows, -1)
            unique, kind = np.unique(own, axis=0, return_inverse=True)
            bias = unique.reshape(-1, heads, tokens, tokens).astype(np.float32)
        attrs = {
            "tokens": tokens,
            "heads": heads,
            "size": size,
            "offsets": offsets,
            "scale": scores.factor * query.factor * key.factor,
        }
        return SelfAttention(query.source, attrs, bias, kind)

    def softmax(self, expr: relax.Expr) -> relax.Expr | None:
        """The softmax whose elements, in their order, `expr` has."""
        call = self.definitions.get(expr) if isinstance(expr, relax.Var) else None
        if op.is_call(call, "relax.nn.softmax"):
            return call
        if is_reshape(call):
            return self.softmax(call.args[0])
        if op.is_call(call, "relax.where"):
            softmax = self.softmax(call.args[2])
            if softmax is not None and self.asks_for_nothing(call.args[0], softmax.args[0]):
                return softmax
        return None

    def asks_for_nothing(self, expr: relax.Expr, scores: relax.Expr) -> bool:
        """Whether `expr` asks which rows of the scores are −∞ throughout."""
        names = []
        while len(names) < len(_GUARD):
            call = self.definitions.get(expr)
            if not isinstance(call, tvm.ir.Call) or not isinstance(call.op, tvm.ir.Op):
                return False
            names.append(call.op.name.removeprefix("relax."))
            expr = call.args[0]
        return names == _GUARD and expr == scores

    def scores(self, expr: relax.Expr) -> _Scores | None:
        """What softmax is given: a scaled product and a constant."""
        call = self.definitions.get(expr) if isinstance(expr, relax.Var) else None
        if op.is_call(call, "relax.matmul"):
            return _Scores(call, np.zeros(op.shape_of(call), np.float32))
        if is_reshape(call):
            inner = self.scores(call.args[0])
            return inner and _Scores(
                inner.call, inner.bias.reshape(op.shape_of(call)), inner.factor
            )
        if op.is_call(call, "relax.add"):
            source, constant = self.with_constant(call)
            inner = self.scores(source) if constant is not None else None
            if inner is None or op.shape_of(call) != inner.bias.shape:
                return None
            return _Scores(inner.call, inner.bias + constant, inner.factor)
        source, factor = self.scaled(call)
        inner = self.scores(source) if source is not None else None
        return inner and _Scores(inner.call, inner.bias * factor, inner.factor * factor)

    def with_constant(self, call: relax.Expr):
        """The argument of a call that is no constant, and the constant beside it, if there is."""
        for source, other in (call.args, call.args[::-1]):
            constant = self.constant(other)
            if constant is not None:
                return source, constant
        return None, None

    def scaled(self, call: relax.Expr | None):
        """What a call multiplies or divides by a number, and that number; None if it does not."""
        if op.is_call(call, "relax.multiply"):
            source, constant = self.with_constant(call)
            if constant is not None and constant.size == 1:
                return source, float(constant.item())
        if op.is_call(call, "relax.divide"):
            constant = self.constant(call.args[1])
            if constant is not None and constant.size == 1:
                return call.args[0], 1 / float(constant.item())
        return None, 1.0

    def view(self, expr: relax.Expr) -> _View | None:
        """Where the elements of `expr` come from."""
        if not isinstance(expr, relax.Var) or self.constant(expr) is not None:
            return None
        value = self.definitions.get(expr)
        source, factor = self.scaled(value)
        if source is not None:
            inner = self.view(source)
            return inner and _View(inner.source, inner.indices, inner.factor * factor)
        if is_move(value):
            (read,) = graph.variables(value)
            inner = self.view(read)
            return inner and _View(inner.source, moved(value, inner.indices), inner.factor)
        if not isinstance(expr.ty, relax.TensorType):
            return None
        shape = op.shape_of(expr)
        return _View(expr, np.arange(int(np.prod(shape))).reshape(shape))
