"""What the stages of the searches left, checked against what their outcomes recorded."""

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bitsweep import outcome
from bitsweep.outcome import Experiment, Outcome


def by_network(searches: Iterable[Experiment]) -> Iterator[tuple[Experiment, list[Experiment]]]:
    """Yield each network on its target, an experiment without a precision, with its searches."""
    own = [(s.model_copy(update={"precision": None}), s) for s in searches]
    for network, pairs in itertools.groupby(own, key=lambda pair: pair[0]):
        yield network, [search for _, search in pairs]


def found(folder: Path, stage: str) -> Outcome:
    """Return the outcome of a stage; raises `UserError` where the file is none."""
    return outcome.read(folder / f"{stage}.json")


def artifact(folder: Path, stage: str, name: str) -> Path | None:
    """Return the path of an artifact of a stage, None where the stage is not ok.

    Raises `UserError` for one that is not what the stage left.
    """
    left = found(folder, stage)
    if left.state != "ok":
        return None
    outcome.verify([left], [folder / name])
    return folder / name


def read(folder: Path, stage: str, name: str) -> Any:
    """Return what is in such an artifact, JSON."""
    path = artifact(folder, stage, name)
    return path and json.loads(path.read_text(encoding="utf-8"))
