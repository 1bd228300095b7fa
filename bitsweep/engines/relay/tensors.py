"""The tensors of a float Relay function, in an order that its annotation does not change."""

from tvm import relay

# What `relay.quantize` puts on edges, each a function of one tensor that keeps its values.
_ANNOTATIONS = {
    "annotation.cast_hint",
    "annotation.stop_fusion",
    "relay.op.annotation.simulated_quantize",
}


def tensors(function: relay.Function) -> list[relay.Expr]:
    """Return the network's input and what its operators make, each after what it is made from.

    Annotations stand on edges, so that a function has the same tensors before and after it.
    """
    found: list[relay.Expr] = [function.params[0]]  # those after it are scales

    def visit(expr):
        if isinstance(expr, relay.TupleGetItem) or (
            isinstance(expr, relay.Call) and not _is_annotation(expr)
        ):
            found.append(expr)

    relay.analysis.post_order_visit(function.body, visit)
    return found


def annotated(expr: relay.Expr) -> relay.Expr:
    """Return the tensor that an annotation, or a chain of them, is put on."""
    while _is_annotation(expr):
        expr = expr.args[0]
    return expr


def names(expressions: list[relay.Expr]) -> list[str]:
    """Return what each tensor is made by, to recognise a function by its tensors."""
    return [
        expr.op.name
        if isinstance(expr, relay.Call) and hasattr(expr.op, "name")
        else type(expr).__name__
        for expr in expressions
    ]


def _is_annotation(expr: relay.Expr) -> bool:
    return (
        isinstance(expr, relay.Call) and hasattr(expr.op, "name") and expr.op.name in _ANNOTATIONS
    )
