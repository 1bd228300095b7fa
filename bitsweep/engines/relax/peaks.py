"""Peaks: what the machine can do at most, of each arithmetic and of memory."""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tvm
from tvm import te

from bitsweep import machine
from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import target
from bitsweep.engines.relax.loops import Loop, loops

_SECONDS = 0.005  # a measurement
_REPEATS = 20  # of which the best is told: what disturbs only slows
_MEMORY = "memory"
_LEAST_BYTES = 2**28
_ALIGNED = 64


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Measure for one thread and for `settings["threads"]`; write `peaks`, JSON.

    `gigaproducts`, by arithmetic and by threads, are 10^9 multiplications with accumulation a
    second, of bits for `bits`; an arithmetic that the CPU has no instruction for is missing.
    `gigabytes`, by threads, are 10^9 bytes read a second from a buffer twice the size of all
    last-level caches, `last_level_bytes` (0 where the machine does not tell), and of at least
    256 MiB.
    """
    cpu = machine.read_cpuinfo()
    native = target.resolve(target.NATIVE)
    header = _header(native)
    numbers = sorted({1, settings["threads"]})
    found: dict[str, dict[str, float]] = {}
    caches = machine.last_level_bytes()
    buffer = _aligned(max(_LEAST_BYTES, 2 * caches))
    for loop in loops(cpu.flags, str(native.attrs["mcpu"])):
        function = _compiled(header + loop.text, loop.name)
        found[loop.name] = {
            str(threads): _rate(function, loop, threads, buffer) / 1e9 for threads in numbers
        }
    gigabytes = found.pop(_MEMORY)
    Path(outputs["peaks"]).write_text(
        json.dumps(
            {
                "cpu_model": cpu.model,
                "threads": settings["threads"],
                "gigaproducts": found,
                "gigabytes": gigabytes,
                "last_level_bytes": caches,
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )


def _aligned(size: int) -> np.ndarray:
    """A buffer of bytes that is there: pages that were never written to are all the same one."""
    raw = np.ones(size + _ALIGNED, np.uint8)
    start = -raw.ctypes.data % _ALIGNED
    return raw[start : start + size]


def _header(native: tvm.target.Target) -> str:
    """What a text must say of the target, as LLVM does: taken from a function of one line."""
    one = te.placeholder((1,), "float32")
    with asking("tvm.compile"):
        copy = te.create_prim_func([one, te.compute((1,), lambda i: one[i])])
        text = tvm.compile(copy, native).mod.inspect_source("ll")
    return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("target "))


def _compiled(text: str, name: str) -> Callable[[int, int], None]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.ll"
        path.write_text(text, encoding="utf-8")
        with asking("tvm.runtime.load_module"):
            function = tvm.runtime.load_module(str(path))[name]
    function.release_gil = True
    return function


def _rate(function: Callable, loop: Loop, threads: int, buffer: np.ndarray) -> float:
    """What is done a second, by so many threads at once, each with its own part of the buffer."""
    addresses = [buffer.ctypes.data] * threads
    if loop.name == _MEMORY:
        rounds = buffer.size // threads // loop.work
        addresses = [address + i * rounds * loop.work for i, address in enumerate(addresses)]
    else:
        rounds = 1000
        function(rounds, 0)
        start = time.perf_counter()
        function(rounds, 0)
        rounds = max(1, int(rounds * _SECONDS / (time.perf_counter() - start)))
    seconds = min(_seconds(function, rounds, addresses) for _ in range(_REPEATS))
    return threads * rounds * loop.work / seconds


def _seconds(function: Callable, rounds: int, addresses: list[int]) -> float:
    """How long it takes from the first start to the last end."""
    times: list[tuple[float, float]] = []
    ready = threading.Barrier(len(addresses))

    def work(address: int) -> None:
        ready.wait()
        start = time.perf_counter()
        function(rounds, address)
        times.append((start, time.perf_counter()))

    workers = [threading.Thread(target=work, args=(address,)) for address in addresses]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    starts, ends = zip(*times, strict=True)
    return max(ends) - min(starts)
