"""What each engine says of itself, to those who do not import its tool."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from bitsweep.place import Place


class PrecisionSection(Protocol):
    """What every engine's section of a precision can tell: a model of pydantic's."""

    weight_bits: int
    activation_bits: int
    is_calibrated: bool  # whether it rests on the statistics that the task `calibrate` leaves

    def settings(self) -> dict[str, Any]:
        """What the engine quantizes by, safe in JSON."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine: what it reads, what it is installed from, and how its errors read.

    `traced` is the form of the traced network that its importer reads. `requirements` are pip's
    files by what they are for (see `install.install`). `precision` is the model of its section of
    a precision. `place` finds where in the tool an error arose, of what was printed and the error's
    type. `uses_llvm` tells whether it compiles for a target of LLVM's. `tuners` are what its task
    `tune` can tune by.
    """

    traced: Literal["torchscript", "exported"]
    requirements: Mapping[str, str]
    precision: type
    place: Callable[[str, str], Place]
    uses_llvm: bool = False
    tuners: tuple[str, ...] = ()


ENGINES: Mapping[str, Engine] = {
    path.parent.name: import_module(f"{__package__}.{path.parent.name}.engine").ENGINE
    for path in sorted(Path(__file__).parent.glob("*/engine.py"))
}
"""Every engine there is, by its package's name."""


def has_task(engine: str, task: str) -> bool:
    """Whether an engine has a task that not every one has."""
    return (Path(__file__).parent / engine / f"{task}.py").exists()
