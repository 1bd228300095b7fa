"""Target: what this engine's LLVM says of one."""

from bitsweep.engines import llvm


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write `answer`, JSON, of the target with `triple`, `cpu` and `attributes`."""
    llvm.describe(**settings, answer=outputs["answer"])
