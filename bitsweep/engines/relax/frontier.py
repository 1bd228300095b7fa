"""Frontier: the plans of the least error at each of many sizes, really quantized."""

import json
from pathlib import Path

from bitsweep.engines.refusal import asking
from bitsweep.engines.relax import trying
from bitsweep.search.frontier import explore


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Try plans of the module at `ir` and `params`; write `plans`, JSON.

    Layers cost what `costs` says; plans are calibrated on `calibration` and judged on `selection`.
    """
    with asking("bitsweep.relax.trial"):
        trial = trying.trial(inputs, settings["settings"])
        plans = explore(trying.network(inputs, trial), trial.judge)
    records = [plan.record() for plan in plans]
    Path(outputs["plans"]).write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
