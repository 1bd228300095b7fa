"""Link object files to a shared library, as every engine does."""

import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

from bitsweep.engines.refusal import asking


def link(inputs: dict, outputs: dict, cc: ModuleType) -> None:
    """Link the `objects` (tar) to the shared library `module` with TVM's `cc`, a C compiler."""
    with tempfile.TemporaryDirectory() as directory, tarfile.open(inputs["objects"]) as archive:
        archive.extractall(directory, filter="data")
        objects = sorted(str(path) for path in Path(directory).glob("*.o"))
        if cc.get_cc() is None:
            raise FileNotFoundError("no C compiler was found on the PATH to link with")
        with asking(f"{cc.__name__}.create_shared"):
            cc.create_shared(outputs["module"], objects)
