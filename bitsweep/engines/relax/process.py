"""A process of the engine's, before it imports its TVM."""

import os

_RUNNING = {"link", "run_once", "answer", "benchmark"}  # what others have compiled


def prepare(task: str) -> None:
    """Have TVM's runtime alone where the task does not compile: it loads in half the time."""
    if task in _RUNNING:
        os.environ["TVM_USE_RUNTIME_LIB"] = "1"
