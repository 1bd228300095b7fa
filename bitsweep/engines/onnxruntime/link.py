"""Export, first half: the optimised model alone."""

from bitsweep.engines.packing import unpack


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write `module`, an ONNX file, out of the `objects` (tar)."""
    unpack(inputs, outputs)
