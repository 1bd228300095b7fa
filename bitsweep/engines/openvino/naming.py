"""PyTorch's names of a network's layers, which OpenVINO's importer drops."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
import openvino

from bitsweep.engines.openvino.accounting import GROUPED, LAYERS

_ALIKE = 1e-4  # least difference of a row's direction that is one
_WEIGHT = ".weight"


def name_layers(model: openvino.Model, paths: Mapping[str, np.ndarray]) -> None:
    """Rename a model's layers to `layer/operator`: `layer1.0.conv1/Convolution`.

    A layer is called by the path of its weight, the one of `paths` (a `state_dict`) that the
    model's is, but for a factor of each output: the importer folds batch norm into it. One whose
    path cannot be told from another keeps its name; a further use of the same weight is `conv#2`.
    """
    known: defaultdict[tuple[int, ...], dict[str, np.ndarray]] = defaultdict(dict)
    for path, values in paths.items():
        if path.endswith(_WEIGHT) and values.ndim > 1:
            rows = _directions(values)
            known[rows.shape][path.removesuffix(_WEIGHT)] = rows
    uses: Counter[str] = Counter()
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind not in LAYERS:
            continue
        constant = node.input_value(1).get_node()
        if constant.get_type_name() != "Constant":
            continue
        values = constant.get_data()
        if kind == GROUPED:
            values = values.reshape(-1, *values.shape[2:])
        rows = _directions(values)
        names = [name for name, own in known[rows.shape].items() if _alike(rows, own)]
        if len(names) == 1:
            (name,) = names
            uses[name] += 1
            number = f"#{uses[name]}" if uses[name] > 1 else ""
            node.set_friendly_name(f"{name}{number}/{kind}")


def name_of(node: openvino.Node) -> str | None:
    """Return PyTorch's name of a layer, None where `name_layers` found none."""
    name, slash, kind = node.get_friendly_name().rpartition("/")
    return name if slash and kind == node.get_type_name() and "::" not in name else None


def _directions(values: np.ndarray) -> np.ndarray:
    """The weights of each output, as a vector of length 1, or 0."""
    rows = values.reshape(len(values), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether rows point the same way, or the opposite; one of zeros may have pointed anywhere."""
    cosines = np.abs((one * other).sum(axis=1))
    return bool((np.abs(cosines - 1) < _ALIKE)[one.any(axis=1)].all())
