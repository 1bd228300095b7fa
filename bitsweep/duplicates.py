"""Keys that stand twice in a config file, of which YAML silently takes the last."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from bitsweep.errors import UserError

_MERGE = "tag:yaml.org,2002:merge"


def refuse(paths: Iterable[Path | str]) -> None:
    """Raise `UserError` with a sentence for each key that a section of a file has twice."""
    mistakes = [
        f"{path}, line {again}: {key} is there already, in line {first}"
        for path in paths
        for key, first, again in _duplicates(Path(path))
    ]
    if mistakes:
        raise UserError("config: " + "; ".join(mistakes))


def _duplicates(path: Path) -> Iterator[tuple[str, int, int]]:
    """A key that is there twice, with both of its lines."""
    try:
        document = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return  # JSON with tabs
    if document is not None:
        yield from _of_section(document, ())


def _of_section(node: yaml.Node, keys: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        line, name = key.start_mark.line + 1, str(key.value)
        if (key.tag, name) in lines and key.tag != _MERGE:
            yield ".".join((*keys, name)), lines[key.tag, name], line
        lines[key.tag, name] = line
        yield from _of_section(value, (*keys, name))
    for index, item in enumerate(node.value if isinstance(node, yaml.SequenceNode) else ()):
        yield from _of_section(item, (*keys, str(index)))
