"""The config's target as TVM's."""

from collections.abc import Mapping

import tvm
from tvm.target import codegen

from bitsweep import machine
from bitsweep.engines.refusal import asking

NATIVE = {"triple": "native", "cpu": "native", "attributes": [], "cores": "native"}


def resolve(settings: Mapping) -> tvm.target.Target:
    """Return the LLVM target of these settings, `native` being this machine's.

    They are `triple`, `cpu`, `attributes`, and `cores`, those that run the module.
    """
    triple, cpu, cores = settings["triple"], settings["cpu"], settings["cores"]
    if triple == "native":
        triple = machine.native_triple()
    with asking("tvm.target.Target"):
        if cpu == "native":
            cpu = _native_cpu(triple)
        return tvm.target.Target(
            {
                "kind": "llvm",
                "mtriple": triple,
                "mcpu": cpu,
                "mattr": list(settings["attributes"]),
                "num-cores": machine.cores_alone() if cores == "native" else cores,
            }
        )


def _native_cpu(triple: str) -> str:
    """Return LLVM's own name of this CPU, unless it falls short of what /proc/cpuinfo tells."""
    cpu_info = machine.read_cpuinfo()
    detected = codegen.llvm_get_system_cpu()
    named = machine.llvm_cpu(cpu_info.flags, cpu_info.model)
    features = [
        codegen.llvm_get_cpu_features(
            tvm.target.Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu})
        )
        for cpu in (detected, named)
    ]
    return detected if machine.better_llvm_cpu(*features, cpu_info.flags) else named
