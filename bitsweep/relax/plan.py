"""Plans: files that have bits for layers, to be read, edited and given back."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path

from bitsweep.relax.config import BITS

_KEYS = ("weight_bits", "input_bits")


def read(path: Path | str) -> dict[str, tuple[int, int]]:
    """Return the `QConfig.layer_bits` of a plan, a file as `config/plan.schema.json` has it.

    Raises `OSError`, and `ValueError` with a sentence for what is no plan.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        return _layer_bits(json.loads(text, object_pairs_hook=_once))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: it is no JSON: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(path: Path | str, layer_bits: Mapping[str, tuple[int, int]]) -> None:
    """Write the plan that `read` reads; the same bits in the same order are the same bytes."""
    layers = {name: dict(zip(_KEYS, bits, strict=True)) for name, bits in layer_bits.items()}
    Path(path).write_text(json.dumps({"layers": layers}, indent=2) + "\n", encoding="utf-8")


def _layer_bits(plan) -> dict[str, tuple[int, int]]:
    _require_keys("a plan", plan, ("layers",))
    if not isinstance(plan["layers"], dict):
        raise ValueError(f"its layers = {plan['layers']!r}: bits by layer name are wanted")
    for name, bits in plan["layers"].items():
        layer = f"its layers.{name if name.isprintable() else repr(name)}"
        _require_keys(layer, bits, _KEYS)
        for key in _KEYS:
            if type(bits[key]) is not int or bits[key] not in BITS:
                raise ValueError(f"{layer}.{key} = {bits[key]!r}: allowed are 1 to 8")
    return {name: tuple(bits[key] for key in _KEYS) for name, bits in plan["layers"].items()}


def _require_keys(what: str, found, keys: tuple[str, ...]) -> None:
    if not isinstance(found, dict):
        raise ValueError(f"{what} = {found!r}: an object with {' and '.join(keys)} is wanted")
    for key in found:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{what} has the key {key!r}; allowed: {', '.join(keys)}{hint}")
    for key in keys:
        if key not in found:
            raise ValueError(f"{what} has no {key}")


def _once(pairs: list[tuple]) -> dict:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"it has {name!r} twice")
    return dict(pairs)
