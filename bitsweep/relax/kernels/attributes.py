"""What marks a kernel for the passes of Relax."""

from tvm.tirx.script import builder as T

_OPAQUE = 8  # OpPatternKind: fused with nothing


def mark() -> None:
    """Say of the function being built that it is complete: not to be fused or scheduled."""
    T.func_attr({"tirx.noalias": True, "op_pattern": _OPAQUE, "tirx.is_scheduled": True})
