"""What each operator of a module takes, within runs of the whole, by the tool's own profile."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_grouped

import numpy as np
import onnx
import onnxruntime

from bitsweep.engines.onnxruntime import session
from bitsweep.engines.onnxruntime.accounting import QUANTIZING
from bitsweep.engines.onnxruntime.executor import Executor
from bitsweep.engines.refusal import asking

_NOTHING = "Shape"  # an operator that looks at no element
_OF_4_BITS = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)


@dataclass(frozen=True)
class Call:
    """A call of a kernel: its node's name, its operator, the data types of its tensors, in the
    tool's words, weights and other constants left out, and the size of all, these included."""

    node: str
    operator: str
    read: tuple[str, ...]
    written: str
    size_bytes: int


class OperatorClock(Executor):
    """The network in a module, and a copy of it, whose operators the tool's own profile times.

    That counts its own work too, some microseconds for each operator, in which those of a short
    network would drown: so the copy has operators that do nothing between them.
    """

    def __init__(self, path: str):
        super().__init__(path)
        model = onnx.load(path)
        self._nodes = list(model.graph.node)
        copy = _with_nothing(model).SerializeToString()
        constants = {one.name: _size_bytes(one) for one in model.graph.initializer}
        (parameter,) = self._session.get_inputs()
        self.set_input(np.zeros(parameter.shape[1:], np.float32))
        with tempfile.TemporaryDirectory() as folder:
            looked = self._opened(copy, folder)
            with asking("onnxruntime.InferenceSession.run"):
                looked.run(None, self._feed)
            events = session.kernels(looked)
        self._events_of_a_run = len(events)
        self.calls = [self._call(one, constants) for one in events if not _is_nothing(one)]
        self._folder = tempfile.TemporaryDirectory()
        self._profiled = self._opened(copy, self._folder.name)

    def time_operators(self) -> None:
        """Time each of `calls` in a run on the input last set, after one that is dropped."""
        with asking("onnxruntime.InferenceSession.run"):
            for _ in range(2):
                self._profiled.run(None, self._feed)

    def taken(self) -> list[list[float]]:
        """Return the milliseconds of each of `calls` in each run that timed them."""
        with self._folder:
            events = session.kernels(self._profiled)
        size = self._events_of_a_run
        starts = range(0, len(events), size)[1::2]
        return [_less_nothing(events[start : start + size]) for start in starts]

    @staticmethod
    def _opened(model: bytes, folder: str) -> onnxruntime.InferenceSession:
        return session.open_(model, session.profiled(session.options(optimised=True), folder))

    def _call(self, event: dict, constants: dict[str, int]) -> Call:
        about, node = event["args"], self._nodes[int(event["name"])]
        parameters = sum(constants.get(name, 0) for name in set(node.input))
        read = [kind for one in about["input_type_shape"] for kind, shape in one.items() if shape]
        ((written, _),) = about["output_type_shape"][0].items()
        size = int(about["activation_size"]) + int(about["output_size"]) + parameters
        return Call(node.name, about["op_name"], tuple(read), written, size)


def _with_nothing(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, its nodes named by their places, each followed by one that does nothing.

    But for those that quantize: `Shape` does not take four bits, and a second reader of what is
    dequantized would have the tool dequantize it twice.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for place, node in enumerate(nodes):
        node.name = str(place)
        copy.graph.node.append(node)
        if node.op_type not in QUANTIZING:
            name = f"{place}/{_NOTHING}"
            nothing = onnx.helper.make_node(_NOTHING, node.output[:1], [name], name=name)
            copy.graph.node.append(nothing)
    return copy


def _is_nothing(event: dict) -> bool:
    return event["name"].endswith(_NOTHING)


def _less_nothing(run: Sequence[dict]) -> list[float]:
    """The milliseconds of the operators in a run, less what one takes that does nothing."""
    by_itself = median_grouped([event["dur"] for event in run if _is_nothing(event)])
    return [(event["dur"] - by_itself) / 1e3 for event in run if not _is_nothing(event)]


def _size_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type in _OF_4_BITS:
        return math.prod(tensor.dims) // 2
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
