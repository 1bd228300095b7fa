"""The Relay engine, for tests."""

from bitsweep import machine
from tests.unit import laid_out, tasks

ROOT = laid_out.ROOT
RECORD = ROOT / ".engines" / "relay" / "engine.json"


def engine():
    """Return the engine; fail, naming the remedy, where it is not laid out."""
    return laid_out.engine("relay")


def exact_target():
    """Return this machine's target, or one that it runs too, for which TVM's integers are exact.

    Where a CPU has SSE 4.2 and no VNNI, TVM adds pairs of products in 16 bits, which saturate.
    """
    is_exact = {"avx512_vnni", "avx_vnni"} & machine.read_cpuinfo().flags
    return tasks.NATIVE if is_exact else {**tasks.NATIVE, "cpu": "x86-64"}
