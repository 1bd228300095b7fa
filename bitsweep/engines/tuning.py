"""A module's tuning, whatever tunes it: operators take turns, and what is measured is kept."""

import json
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from bitsweep.errors import UserError

MOST_BUILDS = 8
"""As many candidates are compiled at once, each in a process with a TVM of its own."""

_TURN = 8  # candidates


class Search(Protocol):
    """An operator and its candidates."""

    tried: int
    """How many candidates have been measured."""

    def measure(self, count: int) -> None:
        """Measure so many more, or what is left of them, and add them to the log."""


def read(log: Path) -> list[dict]:
    """Return the records of a log, a JSON object on a line; the log is there afterwards.

    The half line that a killed process leaves is removed from it. Raises `UserError` for a file
    that is no such log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text or not log.exists():
        log.write_text(whole, encoding="utf-8")
    try:
        records = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise UserError(f"{log} is no log of tuning ({error}); delete it") from None
    return records


def require_own(log: Path, found: Iterable[str], own: Collection[str]) -> None:
    """Raise `UserError` for a log whose records are `found` to be of no operator of `own`."""
    found = list(found)
    if found and not set(found) & set(own):
        raise UserError(
            f"{log} is of another network or target: none of its {len(found)} records, such as "
            f"{found[0]}, is of an operator of this one; delete it"
        )


def take_turns(searches: Sequence[Search], trials: int, seconds: float) -> None:
    """Measure `trials` candidates of each search, a few in turn, as far as `seconds` go."""
    end, left = time.monotonic() + seconds, list(searches)
    while left:
        for search in list(left):
            if time.monotonic() > end:
                return
            before = search.tried
            if before < trials:
                search.measure(min(_TURN, trials - before))
            if search.tried in (before, trials):  # none is left
                left.remove(search)
