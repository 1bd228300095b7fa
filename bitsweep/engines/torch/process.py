"""A process of the engine's, before it imports PyTorch."""

import os


def prepare(task: str) -> None:
    """Have threads wait as they do for any user of PyTorch.

    The jobs' policy keeps waiting threads from the cores of jobs beside them. Only a benchmark has
    several, and it has the machine to itself.
    """
    os.environ.pop("OMP_WAIT_POLICY", None)
