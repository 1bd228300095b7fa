"""What the chosen tiles cost over the best of all, measured on the layers of ResNet-50.

    TVM_NUM_THREADS=2 python benchmarks/tiles.py [--shapes SHAPES] [PRECISION ...]

Builds, for each precision (w8a8, w1a8, w1a1 and w2a2 unless told; as `kernels.py` has them) and
each shape of the layers (or the first SHAPES), a kernel for every tile that the registers hold, and
times it. The fastest five and the chosen one are timed once more, in turn, since the fastest of
many is so by luck as well. Prints how many tiles there are, the median milliseconds of the chosen
and of the best, both tiles (rows × columns × blocks), and the chosen over the best; then that of
the sums over all layers.
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import islice
from unittest.mock import patch

import numpy as np
import tvm
from kernels import bind, host, layers, median, named, precision_of

from bitsweep.relax.kernels import tiling
from bitsweep.relax.kernels.geometry import Conv2D
from bitsweep.relax.kernels.tiling import Tile

PRECISIONS = ("w8a8", "w1a8", "w1a1", "w2a2")
FINALISTS = 5
ROUNDS = 15


def main(precisions: Sequence[str], shapes: int | None) -> None:
    target = host()
    print(target)
    for precision in precisions:
        chosen_ms = best_ms = 0.0
        print(f"\n{precision:<30} {'tiles':>5} {'chosen':>8} {'ms':>8} {'best':>8} {'ms':>8} ratio")
        for conv, residual, count in islice(layers(), shapes):
            runs, chosen = every_tile(conv, precision, residual, target)
            quick = sorted(runs, key=lambda tile, runs=runs: median(runs[tile]))
            finalists = {tile: runs[tile] for tile in {chosen, *quick[:FINALISTS]}}
            ms = in_turn(finalists)
            best = min(ms, key=ms.get)
            chosen_ms += count * ms[chosen]
            best_ms += count * ms[best]
            print(
                f"{named(conv):<30} {len(runs):5} {_short(chosen):>8} {ms[chosen]:8.3f} "
                f"{_short(best):>8} {ms[best]:8.3f} {ms[chosen] / ms[best]:5.2f}",
                flush=True,
            )
        print(f"{'all':<30} {chosen_ms:23.3f} {best_ms:17.3f} {chosen_ms / best_ms:5.2f}")


def every_tile(
    conv: Conv2D, precision: str, residual: bool, target: tvm.target.Target
) -> tuple[dict[Tile, Callable[[], None]], Tile]:
    """The kernel at each tile, ready to run, and the tile that is chosen."""
    choose, asked = tiling.choose, {}

    def noting(shape, registers, *arguments, **rest):
        tile = choose(shape, registers, *arguments, **rest)
        asked.update(shape=shape, registers=registers, tile=tile)
        return tile

    with patch.object(tiling, "choose", noting):
        bind(conv, precision, residual, target)
    runs = {}
    for tile in tiling.candidates(
        asked["shape"], asked["registers"], pipelined=asked["tile"].pipelined
    ):
        with patch.object(tiling, "choose", lambda *_, tile=tile, **__: tile):
            runs[tile] = bind(conv, precision, residual, target)
    return runs, asked["tile"]


def in_turn(runs: dict[Tile, Callable[[], None]]) -> dict[Tile, float]:
    """The median milliseconds of each, of rounds in which each runs once."""
    rounds = [{tile: median(run, 3) for tile, run in runs.items()} for _ in range(ROUNDS)]
    return {tile: 1e3 * float(np.median([taken[tile] for taken in rounds])) for tile in runs}


def _short(tile: Tile) -> str:
    return f"{tile.rows}×{tile.columns}×{tile.blocks}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("precisions", nargs="*", default=PRECISIONS, type=precision_of)
    parser.add_argument("--shapes", type=int)
    arguments = parser.parse_args()
    main(arguments.precisions, arguments.shapes)
