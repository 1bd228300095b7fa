"""What a tool that shows no machine code compiles to: its module, and the operators in it.

Both are members of the `objects` (tar) that the stage `compile` leaves.
"""

import json
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

_MODULE, _OPERATORS = "module", "operators.json"


def pack(objects: str, module: bytes, operators: Sequence[Mapping[str, str]]) -> None:
    """Write `objects`: the module, and each operator in the order of running, as JSON.

    An operator has a `name`, a `type`, and a `dtype`, in numpy's words: of what it computes on.
    """
    told = json.dumps(operators, indent=1).encode()
    with tarfile.open(objects, "w") as archive:
        for name, content in ((_MODULE, module), (_OPERATORS, told)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))


def unpack(inputs: dict, outputs: dict) -> None:
    """Write the `module` that is in `objects`."""
    with tarfile.open(inputs["objects"]) as archive:
        Path(outputs["module"]).write_bytes(archive.extractfile(_MODULE).read())


def operators(objects: str) -> list[dict[str, str]]:
    """Return the operators that are in `objects`."""
    with tarfile.open(objects) as archive:
        return json.load(archive.extractfile(_OPERATORS))
