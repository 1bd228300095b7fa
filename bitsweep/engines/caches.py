"""Cold caches: what a network has in them is evicted."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bitsweep import machine

_ASSUMED_BYTES = 64 * 2**20  # where the machine does not tell


def evictor() -> Callable[[], None]:
    """Return what evicts all caches, of as many cores as the task has threads.

    It reads twice what all last-level caches hold, once by each thread: second-level caches need
    not be part of a last-level one, so that a core's own read alone empties its own.
    """
    size = 2 * (machine.last_level_bytes() or _ASSUMED_BYTES)
    threads = int(os.environ["OMP_NUM_THREADS"])
    buffer = np.ones(size // 8, np.int64)  # not zeros, which may all be one page
    pool = ThreadPoolExecutor(threads)

    def evict() -> None:
        list(pool.map(lambda _: buffer.sum(), range(threads)))

    return evict
