"""Export, first half: the blob alone."""

from bitsweep.engines.packing import unpack


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write `module`, a compiled model's blob, out of the `objects` (tar)."""
    unpack(inputs, outputs)
