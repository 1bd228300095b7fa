"""The machine that this runs on, as a target."""

import os

import tvm
from tvm.target import codegen


def host() -> tvm.target.Target:
    """This machine: the CPU by LLVM's own detection, all cores that this process may use."""
    return tvm.target.Target(
        {
            "kind": "llvm",
            "mcpu": codegen.llvm_get_system_cpu(),
            "num-cores": len(os.sched_getaffinity(0)),
        }
    )
