"""What each operator of a compiled module takes, within a run of the whole."""

import itertools
import json
import math
import re
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns

import tvm
from tvm.contrib import graph_executor

from bitsweep.engines.refusal import asking
from bitsweep.engines.relay.executor import Executor

_SHORT_MS = 1.0


@dataclass(frozen=True)
class Tensor:
    """The shape and the data type of what an operator reads or writes."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        bits = re.search(r"\d+", self.dtype)  # none for bool, which is a byte
        return self.elements * (int(bits[0]) if bits else 8) // 8


@dataclass(frozen=True)
class Node:
    """An operator: the name of its function, what it reads, and what it writes.

    `sources` are the operators, by their place among all, that make what is read, None for a
    constant and for the network's input.
    """

    name: str
    read: tuple[Tensor, ...]
    written: tuple[Tensor, ...]
    sources: tuple[int | None, ...]


class OperatorClock(Executor):
    """The network in a `module.so`, node by node, by the runtime's own debugging executor."""

    def __init__(self, path: str):
        self.device = tvm.cpu()
        with asking("tvm.runtime.load_module"):
            library = tvm.runtime.load_module(path)
            module = library["debug_create"]("default", self.device)
            self._graph = graph_executor.GraphModule(module)
            self._execute = module["execute_node"]
            graph = json.loads(library["get_graph_json"]())
        self._is_short = False
        self._is_operator = [node["op"] != "null" for node in graph["nodes"]]
        self.nodes = _nodes(graph)
        self._taken: list[list[float]] = []

    def time(self, runs: int) -> list[float]:
        """Return the milliseconds of each of `runs` runs, as `Executor` does."""
        taken = super().time(runs)
        self._is_short = min(taken) < _SHORT_MS
        return taken

    def time_operators(self) -> None:
        """Time each of `nodes` in one run on the input last set.

        What lies between two operators, and the caches that it uses, would count as much as they do
        where a run is as short as the last one that was timed: there an operator is what a run up
        to it takes beyond one up to the operator before.
        """
        with asking("GraphExecutorDebug.ExecuteNode"):
            nanoseconds = self._by_runs() if self._is_short else self._one_by_one()
        self._taken.append([one / 1e6 for one in nanoseconds])

    def taken(self) -> list[list[float]]:
        """Return the milliseconds of each of `nodes` in each run that timed them."""
        return self._taken

    def _one_by_one(self) -> list[float]:
        taken, nothing = [], []
        for index, is_operator in enumerate(self._is_operator):
            # Nothing runs for inputs and weights: they take what the clock does.
            (taken if is_operator else nothing).append(self._executed(index))
        return [one - median(nothing) for one in taken]

    def _by_runs(self) -> list[float]:
        operators = [index for index, found in enumerate(self._is_operator) if found]
        for index in (0, operators[-1], 0):
            self._executed(index)
        # Backwards: TVM runs the nodes that come after the one before, or else all from the first.
        ends = [self._executed(index) for index in (*reversed(operators), 0)]
        return [after - before for after, before in itertools.pairwise(ends)][::-1]

    def _executed(self, index: int) -> int:
        start = perf_counter_ns()
        self._execute(index)
        return perf_counter_ns() - start


def _nodes(graph: dict) -> list[Node]:
    """The operators of a graph executor's JSON, in the order that they run in."""
    first, shapes, dtypes = (
        graph["node_row_ptr"],
        graph["attrs"]["shape"][1],
        graph["attrs"]["dltype"][1],
    )

    def tensor(entry: int) -> Tensor:
        return Tensor(tuple(shapes[entry]), dtypes[entry])

    operators = [index for index, node in enumerate(graph["nodes"]) if node["op"] != "null"]
    place = {index: number for number, index in enumerate(operators)}
    return [
        Node(
            node["attrs"]["func_name"],
            tuple(tensor(first[source] + output) for source, output, *_ in node["inputs"]),
            tuple(map(tensor, range(first[index], first[index + 1]))),
            tuple(place.get(source) for source, *_ in node["inputs"]),
        )
        for index, node in ((index, graph["nodes"][index]) for index in operators)
    ]
