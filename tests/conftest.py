"""Properties are tested without a deadline: how long an example takes is the machine's affair."""

import os

from hypothesis import settings

# Where several processes test, each computes by one thread: more would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "OPENBLAS", "TVM"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items):
    """Begin with Slurm's tests, which are the longest and mostly wait, beside all the others."""
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)
