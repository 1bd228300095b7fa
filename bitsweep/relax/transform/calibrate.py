"""Calibrate: give every marked tensor scale and zero point."""

from collections.abc import Mapping

import numpy as np
import tvm
from tvm import relax

from bitsweep.relax import graph, op
from bitsweep.relax.config import QConfig
from bitsweep.relax.errors import NotQuantizable
from bitsweep.relax.evaluator import Evaluator
from bitsweep.relax.parameters import choose
from bitsweep.relax.ranges import Observer


def calibrate(
    mod: tvm.IRModule, config: QConfig, statistics: Mapping[str, Observer]
) -> tvm.IRModule:
    """Return the annotated module with scales in its marks, by what was seen of their tensors."""
    bindings = list(graph.bindings(graph.main_of(mod)))
    marks = {
        b.var: op.attributes(b.value)
        for b in bindings
        if op.is_call(b.value, "bitsweep.fake_quantize")
    }
    symmetric = config.activation_scheme == "symmetric"
    ranges = {
        var: _seen(statistics, attrs["name"]).range(
            config.calibrate_mode,
            bits=attrs["bits"],
            symmetric=symmetric,
            percentile=config.percentile,
        )
        for var, attrs in marks.items()
    }
    for group in joined(bindings):
        lows, highs = zip(*(ranges[var] for var in group), strict=True)
        bits = max(marks[var]["bits"] for var in group)
        for var in group:
            ranges[var] = min(lows), max(highs)
            marks[var]["bits"] = bits
    for var, attrs in marks.items():
        scale, zero_point = choose(*ranges[var], attrs["bits"], symmetric)
        attrs.update(scale=scale, zero_point=zero_point)
    return graph.with_bindings(
        mod,
        [
            (
                b.var,
                op.call("fake_quantize", b.value.args, marks[b.var]) if b.var in marks else b.value,
            )
            for b in bindings
        ],
    )


def _seen(statistics: Mapping[str, Observer], name: str) -> Observer:
    if name not in statistics:
        raise NotQuantizable(f"calibration saw a value of {name} that is not finite")
    return statistics[name]


def joined(bindings: list[relax.VarBinding]) -> list[list[relax.Var]]:
    """Marks that a concatenation joins, by group: of one scale, what they mark is only copied."""
    definitions = {binding.var: binding.value for binding in bindings}

    def mark_before(var: relax.Var) -> relax.Var | None:
        while var in definitions and not op.is_call(definitions[var], "bitsweep.fake_quantize"):
            reads = graph.variables(definitions[var])
            if len(reads) != 1:
                return None
            (var,) = reads
        return var if var in definitions else None

    groups: dict[relax.Var, list[relax.Var]] = {}
    for binding in bindings:
        mark = binding.value
        if not op.is_call(mark, "bitsweep.fake_quantize"):
            continue
        concat = definitions.get(mark.args[0])
        if not op.is_call(concat, "relax.concat"):
            continue
        parts = [mark_before(var) for var in graph.variables(concat)]
        if None in parts:
            continue
        group = []
        for var in (binding.var, *parts):
            for member in groups.get(var, [var]):
                if member not in group:
                    group.append(member)
        for var in group:
            groups[var] = group
    return list({id(group): group for group in groups.values()}.values())


def exact(evaluator: Evaluator, binding: relax.VarBinding, values, packed: dict):
    """The value of a binding in floats, marks without effect; `packed` keeps packed weights."""
    call = binding.value
    if op.is_call(call, "bitsweep.fake_quantize"):
        return values[call.args[0]]
    if not op.is_call(call, "bitsweep.conv2d"):
        return evaluator.apply(binding, values)
    if binding.var not in packed:
        weight = graph.array(call.args[1])
        packed[binding.var] = evaluator.packed(weight, call.attrs["groups"])
    sums = evaluator.convolve(binding, values[call.args[0]], packed[binding.var])
    return finished(call, sums, graph.array(call.args[2]), values)


def finished(call: relax.Expr, sums: np.ndarray, bias: np.ndarray, values) -> np.ndarray:
    """Bias and residual added to a convolution's sums, and clipped, in place."""
    sums = sums if sums.flags.writeable else sums.copy()
    sums += bias
    if len(call.args) > 3:
        sums += values[call.args[3]]
    low, high = call.attrs["clip_min"], call.attrs["clip_max"]
    if (low, high) == op.NO_CLIP:
        return sums
    return np.clip(sums, np.float32(low), np.float32(high), out=sums)


def simulated(mark: relax.Expr, data: np.ndarray) -> np.ndarray:
    """What a calibrated mark makes of a tensor: the values its integers stand for, float32."""
    scale, (low, high) = np.float32(mark.attrs["scale"]), levels(mark)
    steps = np.rint(data / scale)
    np.clip(steps, np.float32(low), np.float32(high), out=steps)
    steps *= scale
    return steps


def levels(mark: relax.Expr) -> tuple[int, int]:
    """The least and the largest integer of a calibrated mark, less its zero point."""
    zero_point = mark.attrs["zero_point"]
    return -zero_point, 2 ** mark.attrs["bits"] - 1 - zero_point
