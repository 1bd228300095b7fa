"""A process of the engine's, before it imports PyTorch."""

import os

# The jobs' policy keeps waiting threads from the cores of jobs beside them. Only a benchmark has
# several, and it has the machine to itself: there they wait as they do for any user of PyTorch.
os.environ.pop("OMP_WAIT_POLICY", None)
