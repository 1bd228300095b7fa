"""ONNX Runtime's sessions, as every task opens them."""

import json
import os
from pathlib import Path

import onnxruntime

from bitsweep.engines.refusal import asking

_KERNEL = "_kernel_time"
_ERRORS = 3  # not what it warns of: that an optimised model is of this machine


def options(*, optimised: bool) -> onnxruntime.SessionOptions:
    """Return options for as many threads as the task has; `optimised` models are left as they are.

    Threads stop spinning when a run ends: another module's run may follow.
    """
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = _ERRORS
    chosen.add_session_config_entry("session.force_spinning_stop", "1")
    if optimised:
        chosen.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return chosen


def open_(model: str | bytes, chosen: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Open a model, a path or its bytes."""
    with asking("onnxruntime.InferenceSession"):
        return onnxruntime.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])


def profiled(chosen: onnxruntime.SessionOptions, folder: str) -> onnxruntime.SessionOptions:
    """Return the options with the tool's own profile on, which it writes into a folder."""
    chosen.enable_profiling = True
    chosen.profile_file_prefix = str(Path(folder) / "profile")
    return chosen


def kernels(opened: onnxruntime.InferenceSession) -> list[dict]:
    """End the profile of a session; return the kernels that ran, in their order.

    `name` is the node's, `dur` what the kernel took, in whole microseconds.
    """
    with asking("onnxruntime.InferenceSession.end_profiling"):
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    return [
        event | {"name": event["name"].removesuffix(_KERNEL)}
        for event in events
        if event["name"].endswith(_KERNEL)
    ]
