"""Export, first half: object files to a shared library."""

from tvm.contrib import cc

from bitsweep.engines.linking import link


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Link the `objects` (tar) to the shared library `module` with the C compiler found."""
    link(inputs, outputs, cc)
