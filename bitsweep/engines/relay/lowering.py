"""What TVM does again and again while it lowers operators."""

import functools
from importlib import import_module

import tvm


def remember_repeated_work() -> None:
    """Have TVM do once, in this process, what it would do again for each operator or constant.

    Nothing that it makes is another for it.
    """
    _remember_build_settings()
    _remember_folding()


def _remember_build_settings() -> None:
    """Have `te_compiler.get_shape` read how TVM was built once, not for each dimension.

    `tvm.support.libinfo` makes a map of some 200 settings at every call: half of a build's time.
    """
    compiler = import_module("tvm.relay.backend.te_compiler")
    if hasattr(compiler, "libinfo"):  # not in every TVM of a user's own
        compiler.libinfo = functools.cache(compiler.libinfo)


def _remember_folding() -> None:
    """Compile what constants are folded by once for all that are folded alike.

    `FoldConstant` compiles a module for each constant: five of six of ResNet50's are repetitions,
    a quarter of a build's time.
    """
    name = "relay.backend.build"
    build = tvm.get_global_func(name)
    built: dict[tuple, list[tuple[tvm.IRModule, tvm.runtime.Module]]] = {}

    def remembered(module: tvm.IRModule, target, host=None) -> tvm.runtime.Module:
        alike = built.setdefault((str(target), str(host), tvm.ir.structural_hash(module)), [])
        for same, library in alike:
            if tvm.ir.structural_equal(same, module):
                return library
        alike.append((module, build(module, target, host)))
        return alike[-1][1]

    tvm.register_func(name, remembered, override=True)
