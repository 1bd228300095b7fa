"""One thread: pytest's processes share the cores, and threads that wait for others spin."""

import sys

import pytest
from threadpoolctl import threadpool_limits

from tests.workflow.slurm import PLUGINS

sys.path.append(str(PLUGINS))  # at the end: what is there and in the environment is the latter's


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """TVM, PyTorch and BLAS compute in one thread, in the tests' processes and their children."""
    with pytest.MonkeyPatch.context() as environment, threadpool_limits(1):
        for name in ("TVM", "OMP", "OPENBLAS"):
            environment.setenv(f"{name}_NUM_THREADS", "1")
        yield
