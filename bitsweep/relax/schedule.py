"""A schedule for what has no kernel of its own: parallel outside, vectorised inside."""

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV

_LANES = 16
_TASKS = 64  # of a parallel loop: enough for any machine's cores to share
_SCHEDULED = "tirx.is_scheduled"


@tvm.transform.module_pass(opt_level=0, name="ScheduleForCPU")
class ScheduleForCPU:
    """Schedule every function of a module that is not marked as scheduled."""

    def transform_module(self, mod: tvm.IRModule, _) -> tvm.IRModule:
        for var, function in mod.functions.items():
            if isinstance(function, tirx.PrimFunc) and _SCHEDULED not in (function.attrs or {}):
                try:
                    mod[var] = scheduled(function)
                except s_tir.ScheduleError:  # slow as it stands, but right
                    continue
        return mod


def scheduled(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Inline what can be, make the outer loops parallel and the contiguous inner one vectors."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        try:
            schedule.compute_inline(block)
        except s_tir.ScheduleError:
            continue
    for block in schedule.get_child_blocks(schedule.get_sblock("root")):
        _schedule_block(schedule, block)
    return schedule.mod["main"].with_attr(_SCHEDULED, True)


def _extent(schedule: s_tir.Schedule, loop: s_tir.schedule.LoopRV) -> int:
    """How often a loop goes round, 0 where that is not known."""
    extent = schedule.get(loop).extent
    return extent.value if isinstance(extent, tirx.IntImm) else 0


def _schedule_block(schedule: s_tir.Schedule, block: SBlockRV) -> None:
    loops = schedule.get_loops(block)
    kinds = [var.iter_type for var in schedule.get(block).iter_vars]
    if len(kinds) != len(loops) or not loops:
        return
    spatial = [loop for loop, kind in zip(loops, kinds, strict=True) if kind == 0]
    reduced = [loop for loop, kind in zip(loops, kinds, strict=True) if kind != 0]
    if not spatial:
        return
    lengths = [_extent(schedule, loop) for loop in spatial[-2:]]
    if len(lengths) == 2 and lengths[1] < _LANES <= lengths[0]:
        spatial[-2:] = reversed(spatial[-2:])  # of an image's few channels, its columns
    *outer, inner = spatial
    lanes = None
    if _extent(schedule, inner) >= _LANES:
        inner, lanes = schedule.split(inner, [None, _LANES], preserve_unit_iters=True)
    schedule.reorder(*outer, inner, *reduced, *([lanes] if lanes else []))
    tasks = schedule.fuse(*outer, inner) if outer else inner
    tasks, _ = schedule.split(tasks, [_TASKS, None])
    schedule.parallel(tasks)
    if lanes is not None:
        schedule.vectorize(lanes)
        if reduced:
            schedule.decompose_reduction(block, reduced[0])
