"""From a Relax module, float or quantized, to machine code."""

import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline as cpu_generic

from bitsweep.relax import legalize
from bitsweep.relax.kernels.choice import Tiled, choosing
from bitsweep.relax.kernels.tiling import Tile
from bitsweep.relax.machine import host
from bitsweep.relax.schedule import ScheduleForCPU
from bitsweep.relax.transform.pack import pack
from bitsweep.relax.transform.planes import in_planes


def build(mod: tvm.IRModule, target: tvm.target.Target | None = None) -> relax.VMExecutable:
    """Compile a canonical or quantized module for a CPU, this machine's by default.

    TVM's own pipeline does as well, but leaves everything except convolutions unscheduled.
    """
    target = target or host()
    return relax.build(lowered(mod, target), target, relax_pipeline=pipeline(target))


def lowered(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.IRModule:
    """The module with weights and activations in the layouts that the target's kernels read."""
    return pack(in_planes(mod, target))


def tiled(mod: tvm.IRModule, target: tvm.target.Target) -> list[Tiled]:
    """The kernels that the module is compiled to and that can have one of several tiles.

    Several may be the same code: layers of one shape share it.
    """
    kernels: list[Tiled] = []

    def noted(kernel: Tiled) -> Tile:
        kernels.append(kernel)
        return kernel.tiles[0]

    with target, choosing(noted):
        relax.transform.LegalizeOps(legalize.KERNELS)(lowered(mod, target))
    return kernels


def pipeline(target: tvm.target.Target) -> tvm.transform.Pass:
    """TVM's passes for CPUs, without the folding of constants, and with schedules."""
    return tvm.transform.Sequential(
        [
            *cpu_generic.library_dispatch_passes(target),
            relax.transform.LegalizeOps(legalize.KERNELS),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            ScheduleForCPU(),
            relax.transform.DeadCodeElimination(),
            *cpu_generic.dataflow_lower_passes(target),
            *cpu_generic.finalize_passes(target),
        ]
    )
