"""The Relay engine as `snakemake .engines/relay/engine.json` lays it out, for tests."""

from pathlib import Path

import pytest

from bitsweep import machine
from bitsweep.engines import task
from tests.unit import tasks

ROOT = Path(__file__).parents[2]
RECORD = ROOT / ".engines" / "relay" / "engine.json"


def engine():
    """Return the engine; fail, naming the remedy, where it is not laid out."""
    if not RECORD.exists():
        pytest.fail("the engine is missing: run `snakemake --cores 1 .engines/relay/engine.json`")
    read = task.Engine.read(RECORD)
    return task.Engine(read.name, tuple(str(ROOT / path) for path in read.python_path), {})


def exact_target():
    """Return this machine's target, or one that it runs too, for which TVM's integers are exact.

    Where a CPU has SSE 4.2 and no VNNI, TVM adds pairs of products in 16 bits, which saturate.
    """
    is_exact = {"avx512_vnni", "avx_vnni"} & machine.read_cpuinfo().flags
    return tasks.NATIVE if is_exact else {**tasks.NATIVE, "cpu": "x86-64"}
