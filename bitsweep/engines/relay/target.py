"""The config's target as TVM's."""

from collections.abc import Mapping

import tvm

from bitsweep import machine
from bitsweep.engines.refusal import asking

NATIVE = {"triple": "native", "cpu": "native", "attributes": []}


def resolve(settings: Mapping) -> tvm.target.Target:
    """Return the LLVM target of `triple`, `cpu` and `attributes`, `native` being this machine's.

    The triple is always given: a build of TVM may default to another machine's.
    """
    triple, cpu = settings["triple"], settings["cpu"]
    if triple == "native":
        triple = machine.native_triple()
    if cpu == "native":
        cpu_info = machine.read_cpuinfo()
        cpu = machine.llvm_cpu(cpu_info.flags, cpu_info.model)
    parts = ["llvm", f"-mtriple={triple}", f"-mcpu={cpu}"]
    if settings["attributes"]:
        parts.append(f"-mattr={','.join(settings['attributes'])}")
    with asking("tvm.target.Target"):
        return tvm.target.Target(" ".join(parts))
