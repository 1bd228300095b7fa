"""Profiles as the stage leaves them, made up."""

import json

from bitsweep.outcome import Experiment, Outcome, describe
from bitsweep.profile.operators import Operator, write

CPU = "AMD EPYC 9B14"
PEAKS = {
    "cpu_model": CPU,
    "threads": 2,
    "gigaproducts": {"float": {"1": 60.0, "2": 100.0}, "integer": {"1": 240.0, "2": 400.0}},
    "gigabytes": {"1": 30.0, "2": 40.0},
    "last_level_bytes": 2**25,
}
FLOAT = [
    (Operator("fused_conv2d_relu", "convolution", 4 * 10**6, "conv1", 10**8, "float"), 4.0),
    (Operator("fused_conv2d_add", "convolution", 10**6, "conv2", 3 * 10**8, "float"), 5.0),
    (Operator("dense", "dense", 10**6, "fc", 10**6, "float"), 0.5),
    (Operator("max_pool2d", "pool", 10**6), 0.5),
]
INT8 = [
    (Operator("fused_conv2d_relu", "convolution", 4 * 10**6, "conv1", 10**8, "float"), 4.0),
    (Operator("fused_conv2d", "convolution", 3 * 10**5, "conv2", 3 * 10**8, "integer"), 3.0),
    (Operator("dense", "dense", 3 * 10**5, "fc", 10**6, "integer"), 0.2),
    (Operator("fused_cast", "conversion", 10**6), 1.0),
    (Operator("max_pool2d", "pool", 10**6), 0.3),
    (Operator("fused_fixed_point_multiply_add", "elementwise", 10**6), 1.5),
]


def experiment(precision="float32", model="resnet50", engine="relay"):
    """Return an experiment on the cpu."""
    return Experiment(model=model, engine=engine, target="cpu", precision=precision)


def leave(results, of, timed=FLOAT, whole=None, **more):
    """Write what the stage leaves of operators with their milliseconds; return the experiment."""
    folder = results / str(of)
    folder.mkdir(parents=True, exist_ok=True)
    operators, milliseconds = zip(*timed, strict=True)
    path = folder / "operators.json"
    write(
        path,
        operators,
        milliseconds,
        whole or sum(milliseconds),
        **{"threads": 2, "missing": "calls", "cpu_model": CPU, "disturbed": False, **more},
    )
    Outcome(state="ok", stage="profile", experiment=of, artifacts=describe([path])).write(
        folder / "profile.json"
    )
    return of


def peaks(results, **more):
    """Write the peaks of a machine; return the path."""
    path = results / "peaks.json"
    path.write_text(json.dumps(PEAKS | more))
    return path
