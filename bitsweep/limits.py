"""Which stages a raised limit runs again: those that ran into it, and no others."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from bitsweep import outcome
from bitsweep.errors import UserError

_TOLD = "limits raised {} times"
_RECORDED = re.compile(repr(_TOLD).format(r"(\d+)"))


def raised(path: Path | str, recorded: Iterable[str] | None, limits: Mapping[str, float]) -> str:
    """Return how often a limit was raised after the stage with the outcome at `path` ran into it.

    The parameter of a rule: it changes where the outcome is of a smaller limit than that in
    `limits`, by kind of failure. `recorded` are the parameters, as their `repr`, that the stage had
    when it ran last, with the number until then: it stays what it was for all other outcomes, also
    for one that the stage comes to with the raised limit.
    """
    matches = filter(None, map(_RECORDED.fullmatch, recorded or ()))
    times = max((int(match[1]) for match in matches), default=0)
    return _TOLD.format(times + _stopped_early(Path(path), limits))


def _stopped_early(path: Path, limits: Mapping[str, float]) -> bool:
    try:
        # Most outcomes are of no failure: they are told without being parsed.
        error = outcome.read(path).error if b'"limit"' in path.read_bytes() else None
    except (OSError, UserError):  # what is not there or damaged is told by who needs it
        return False
    return error is not None and error.limit is not None and error.limit < limits[error.kind]
