"""Export, first half: the compiled module alone."""

from bitsweep.engines.packing import unpack


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Write `module`, TorchScript or a package of TorchInductor's, out of the `objects` (tar)."""
    unpack(inputs, outputs)
