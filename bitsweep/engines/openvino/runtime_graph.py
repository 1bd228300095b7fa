"""What a compiled model runs, as OpenVINO tells it."""

import math
from dataclasses import dataclass

import openvino

_NO_WORK = ("Input", "Output")
_TYPES = {"f": "float", "bf": "bfloat", "i": "int", "u": "uint"}
_NOT_EXECUTED = "not_executed"


@dataclass(frozen=True)
class Executed:
    """An operator: its name and type, those of the model that it was made of, its data type.

    `read` are the data types of what it reads, constants left out, and `written` that of what it
    writes, all in numpy's words. `size_bytes` are all tensors', constants included. `microseconds`
    are whole ones, the mean of all runs that were counted, 0 where it is told to be none.
    """

    name: str
    type: str
    made_of: tuple[str, ...]
    dtype: str
    read: tuple[str, ...]
    written: str
    size_bytes: int
    microseconds: int


def executed(compiled: openvino.CompiledModel) -> list[Executed]:
    """Return the operators of a compiled model in the order that they run in."""
    found, constant = [], set()
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {key: value.astype(str) for key, value in node.get_rt_info().items()}
        sources = [value.get_source_output().get_node().get_name() for value in node.inputs()]
        if told["layerType"] in _NO_WORK:
            continue
        if constant.issuperset(sources):
            constant.add(node.get_name())  # whatever is made of constants is one
            continue
        found.append((int(told["execOrder"]), _executed(node, told, constant)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _executed(node: openvino.Node, told: dict[str, str], constant: set[str]) -> Executed:
    tensors = [value for value in node.inputs() if value.get_element_type().is_static()]
    read = [
        value.get_element_type()
        for value in tensors
        if value.get_source_output().get_node().get_name() not in constant
    ]
    taken = told["execTimeMcs"]
    return Executed(
        name=node.get_friendly_name(),
        type=told["layerType"],
        made_of=tuple(told["originalLayersNames"].split(",")),
        dtype=_dtype(told["runtimePrecision"]),
        read=tuple(_dtype(kind.to_string()) for kind in read),
        written=_dtype(told["outputPrecisions"].split(",")[0]),
        size_bytes=sum(map(_size_bytes, (*tensors, *node.outputs()))),
        microseconds=0 if taken == _NOT_EXECUTED else int(taken),
    )


def _size_bytes(value: openvino.Input | openvino.Output) -> int:
    return math.prod(value.get_shape()) * value.get_element_type().bitwidth // 8


def _dtype(precision: str) -> str:
    """`float32` of `f32`."""
    letters = precision.rstrip("0123456789")
    return _TYPES.get(letters, letters) + precision[len(letters) :]
