"""Export, first half: object files to a shared library."""

import tarfile
import tempfile
from pathlib import Path

from tvm.contrib import cc

from bitsweep.engines.refusal import asking_tvm


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Link the `objects` (tar) to the shared library `module` with the C compiler found."""
    with tempfile.TemporaryDirectory() as directory, tarfile.open(inputs["objects"]) as archive:
        archive.extractall(directory, filter="data")
        objects = sorted(str(path) for path in Path(directory).glob("*.o"))
        if cc.get_cc() is None:
            raise FileNotFoundError("no C compiler was found on the PATH to link with")
        with asking_tvm("tvm.contrib.cc.create_shared"):
            cc.create_shared(outputs["module"], objects)
