"""Tiles: into which of them each kernel of ours is cut, by measurement.

A kernel's candidates are the tiles that registers hold, in the order of their predicted cost: the
first is what is taken untuned.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import tvm

from bitsweep.engines.refusal import asking
from bitsweep.relax.compiler import tiled
from bitsweep.relax.kernels.choice import Tiled, choosing
from bitsweep.relax.kernels.tiling import Tile

_ROUNDS = 15
_REPEATS = 3  # in a round, of which the best counts: what disturbs only slows
_SECONDS = 5e-4  # of a repeat, at least
_FASTER = 0.98  # of the time of what is taken untuned,
_MOST = 0.75  # in so many of the rounds


class Search:
    """A kernel and its tiles."""

    def __init__(
        self, kernel: Tiled, target: tvm.target.Target, log: Path, records: Sequence[dict]
    ):
        self._of = _of(kernel, target)
        self.key = key(self._of)
        self._kernel, self._target, self._log = kernel, target, log
        self._tried = {_tile(record) for record in records if key(record) == self.key}

    @property
    def tried(self) -> int:
        """How many tiles have been measured."""
        return len(self._tried)

    def measure(self, count: int) -> None:
        """Measure so many more, or what is left, and add them to the log.

        They take turns with what is taken untuned, so that a drift of the machine is in both.
        """
        tiles = [tile for tile in self._kernel.tiles if tile not in self._tried][:count]
        if not tiles:
            return
        untuned = self._kernel.tiles[0]
        timed = {untuned: self._untuned} | {
            tile: self._timed(tile) for tile in tiles if tile != untuned
        }
        with asking("Module.time_evaluator"):
            # As many runs of each, so that what disturbs has the same chance with all.
            number = math.ceil(_SECONDS / timed[untuned](1))
            seconds = in_turn({tile: partial(timed[tile], number) for tile in timed}, _ROUNDS)
        with self._log.open("a", encoding="utf-8") as log:
            for tile in tiles:
                taken = {"seconds": seconds[tile], "untuned_seconds": seconds[untuned]}
                log.write(json.dumps({**self._of, "tile": astuple(tile), **taken}) + "\n")
        self._tried.update(tiles)

    @cached_property
    def _untuned(self) -> Callable[[int], float]:
        return self._timed(self._kernel.tiles[0])

    @cached_property
    def _tensors(self) -> list[tvm.runtime.Tensor]:
        """What every candidate is called with: where it lies in memory is no difference."""
        arrays = _arrays(self._kernel.make(self._kernel.tiles[0]))
        return [tvm.runtime.tensor(array) for array in arrays]

    def _timed(self, tile: Tile) -> Callable[[int], float]:
        """The kernel with a tile, compiled: the seconds of a run, on average of so many."""
        function = self._kernel.make(tile).with_attr("global_symbol", "main")
        with asking("tirx.build"):
            module = tvm.tirx.build(function, self._target)

        def seconds(number: int) -> float:
            clock = module.time_evaluator("main", tvm.cpu(), number=number, repeat=_REPEATS)
            return min(clock(*self._tensors).results)

        return seconds


def searches(
    module: tvm.IRModule, target: tvm.target.Target, log: Path, records: Sequence[dict]
) -> list[Search]:
    """Return a module's kernels, each once, with what `records` say of them."""
    with asking("bitsweep.relax.build"):
        kernels = tiled(module, target)
    found = [Search(kernel, target, log, records) for kernel in kernels]
    return list({search.key: search for search in found}.values())


def key(record: Mapping) -> str:
    """Return what a record is of: target and kernel, with its shape and its code."""
    return json.dumps([record.get(name) for name in ("target", "kernel", "code")])


def best(log: str, target: tvm.target.Target) -> AbstractContextManager:
    """Return the context in which kernels have the tiles that a log shows to be the fastest.

    One is taken in place of the untuned one where it was faster by 2 % in three quarters of the
    rounds, in which both ran side by side. The fastest of many is so by luck as well, and a median
    alone would follow it: a tile that is as fast, and for noise looks faster by 2 % in one round of
    four, is taken once in 80,000.
    """
    records = defaultdict(list)
    for line in Path(log).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        records[key(record)].append(record)
    return choosing(lambda kernel: _fastest(kernel, records[key(_of(kernel, target))]))


def in_turn(clocks: Mapping[Tile, Callable[[], float]], rounds: int) -> dict[Tile, list[float]]:
    """Return what each clock tells in each of so many rounds, in which each runs once."""
    taken = [{tile: clock() for tile, clock in clocks.items()} for _ in range(rounds)]
    return {tile: [seconds[tile] for seconds in taken] for tile in clocks}


def _fastest(kernel: Tiled, records: Sequence[Mapping]) -> Tile:
    ratios = {
        _tile(record): np.divide(record["seconds"], record["untuned_seconds"]) for record in records
    }
    faster = {
        tile: float(np.median(ratios[tile]))
        for tile in kernel.tiles
        if tile in ratios and np.mean(ratios[tile] < _FASTER) >= _MOST
    }
    return min(faster, key=faster.get, default=kernel.tiles[0])


def _of(kernel: Tiled, target: tvm.target.Target) -> dict[str, str]:
    return {"target": str(target), "kernel": kernel.name, "code": kernel.digest()}


def _tile(record: Mapping) -> Tile:
    return Tile(*record["tile"])


def _arrays(function: tvm.tirx.PrimFunc) -> list[np.ndarray]:
    """Values of the arguments' shapes and types: signed ones are 0, as a shift or an index may be.

    Bytes and bits, which activations and weights are, have no sign, and are random like floats.
    """
    random = np.random.default_rng(0)
    arrays = []
    for argument in function.params:
        shape, dtype = [int(extent) for extent in argument.shape], np.dtype(str(argument.dtype))
        if dtype.kind == "f":
            arrays.append(random.standard_normal(shape, dtype))
        elif dtype.kind == "u":
            arrays.append(random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True))
        else:
            arrays.append(np.zeros(shape, dtype))
    return arrays
