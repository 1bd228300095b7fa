"""Labels: which of a network's outputs stands for each class of the images."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from bitsweep.errors import UserError

IMAGENET = tuple(Path(__file__).with_name("imagenet_wnids.txt").read_text("utf-8").split())
"""The WordNet IDs of ILSVRC 2012's 1,000 classes, in the order of a network's outputs."""


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key to sort names by in which numbers count as numbers: `2` is before `10`."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if part.isdecimal() else part for part in parts], name


def indices(
    data: str, classes: Sequence[str], outputs: int, categories: Sequence[str] | None
) -> dict[str, int]:
    """Return the index among a network's `outputs` of each of the data's classes, by name.

    A class is known by its name among `categories`, what the weights call each output (`_` may
    stand for a space), or by its WordNet ID where there are ImageNet's 1,000 outputs; any subset
    will do. Otherwise there is a class for each output, and they are in order; where there are
    `categories` that goes for numbers only. Raises `UserError` for anything else.
    """
    names = [*enumerate(categories or ()), *enumerate(IMAGENET if outputs == len(IMAGENET) else ())]
    known = {_spaced(name): index for index, name in names}
    unknown = [name for name in classes if _spaced(name) not in known]
    if not unknown:
        return {name: known[_spaced(name)] for name in classes}
    if categories and not all(name.isdecimal() for name in classes):
        near = difflib.get_close_matches(_spaced(unknown[0]), categories, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"data {data}: {unknown[0]!r} is none of the {len(categories)} classes that the "
            f"weights tell apart{hint}"
        )
    if len(classes) != outputs:
        hint = ", or folders named by WordNet ID, as n01440764" if outputs == len(IMAGENET) else ""
        raise UserError(
            f"data {data} has {len(classes)} classes and the network {outputs} outputs: a class "
            f"for each is wanted{hint}"
        )
    return {name: index for index, name in enumerate(classes)}


def _spaced(name: str) -> str:
    return name.replace("_", " ")
