"""For tools that compile for the machine they run on, whatever it is."""

from collections.abc import Mapping

from bitsweep.engines.refusal import Refused

_ANY = {"triple": "native", "cpu": "native", "attributes": []}


def require(target: Mapping, function: str) -> None:
    """Raise `Refused` for a target that names a machine."""
    for key, native in _ANY.items():
        if target[key] != native:
            text = f"{key} = {target[key]!r}: it compiles for the machine that it runs on alone"
            raise Refused(function, "refused", "Target", text)
