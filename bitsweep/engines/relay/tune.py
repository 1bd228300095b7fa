"""Tune: candidates for the schedule of each operator, measured on this machine."""

import os
import shutil
import tempfile
from pathlib import Path

from bitsweep.engines import tuning
from bitsweep.engines.relay import ir, target
from bitsweep.engines.relay.lowering import remember_repeated_work
from bitsweep.engines.relay.tuners import TUNERS


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Tune the module at `ir` and `params` as `settings["tuning"]` says; write `log`.

    A record of TVM's is a line of it. They gather in the file `settings["kept"]`, which outlives
    this process: what it has counts as tried.
    """
    remember_repeated_work()
    # In the stage's own folder, which it removes: TVM leaves candidates behind.
    os.environ["TMPDIR"] = tempfile.tempdir = str(Path(outputs["log"]).parent)
    module, params = ir.load(inputs)
    for_target = target.resolve(settings["target"])
    tuner, kept = TUNERS[settings["tuning"]["by"]], Path(settings["kept"])
    records = tuning.read(kept)
    with for_target:
        searches = tuner.searches(
            module,
            params,
            for_target,
            kept,
            records,
            threads=min(int(os.environ["TVM_NUM_THREADS"]), tuning.MOST_BUILDS),
        )
        tuning.require_own(kept, map(tuner.key, records), {search.key for search in searches})
        tuning.take_turns(searches, settings["tuning"]["trials"], settings["tuning"]["seconds"])
    shutil.copyfile(kept, outputs["log"])
