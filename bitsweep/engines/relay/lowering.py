"""What TVM asks itself again and again while it lowers operators."""

import functools
from importlib import import_module


def remember_build_settings() -> None:
    """Have `te_compiler.get_shape` read how TVM was built once, not for each dimension.

    `tvm.support.libinfo` makes a map of some 200 settings at every call: half of a build's time.
    """
    compiler = import_module("tvm.relay.backend.te_compiler")
    if hasattr(compiler, "libinfo"):  # not in every TVM of a user's own
        compiler.libinfo = functools.cache(compiler.libinfo)
