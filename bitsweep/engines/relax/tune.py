"""Tune: the tiles of each kernel of ours, measured on this machine."""

import shutil
from pathlib import Path

from bitsweep.engines import tuning
from bitsweep.engines.relax import by_tiles, ir, target


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Tune the module at `ir` and `params` as `settings["tuning"]` says; write `log`.

    A line of it is a JSON object: `target`, `kernel` and `code`, which tell the kernel; `tile`, its
    rows, columns and blocks of channels, and whether it is pipelined; `seconds` of a run in each
    round, and `untuned_seconds` of the tile that is taken untuned. They gather in the file
    `settings["kept"]`, which outlives this process: what it has counts as tried.
    """
    module = ir.load(inputs)
    for_target = target.resolve(settings["target"])
    kept = Path(settings["kept"])
    records = tuning.read(kept)
    searches = by_tiles.searches(module, for_target, kept, records)
    tuning.require_own(kept, map(by_tiles.key, records), {search.key for search in searches})
    tuning.take_turns(searches, settings["tuning"]["trials"], settings["tuning"]["seconds"])
    shutil.copyfile(kept, outputs["log"])
