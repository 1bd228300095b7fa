"""Search: from the frontier to the plan that is asked for, by trying plans in the real network."""

import json
from pathlib import Path

from bitsweep import metrics
from bitsweep.engines.refusal import Refused, asking
from bitsweep.engines.relax import trying
from bitsweep.relax import plan
from bitsweep.relax.trial import Trial
from bitsweep.search.plans import Plan
from bitsweep.search.repair import NoPlan, Search


def run(inputs: dict, outputs: dict, settings: dict) -> None:
    """Search as `settings["search"]` asks, from the plans in `frontier`; write `plan` and `report`.

    The other inputs are those of the task `frontier`, and `times`, what layers take, where the
    search is for latency. `Refused` where no plan does what is asked.
    """
    wanted = settings["search"]
    try:
        with asking("bitsweep.relax.trial"):
            trial = trying.trial(inputs, settings["settings"])
            search = _search(inputs, trial)
            chosen = search.run(wanted)
    except NoPlan as error:
        raise Refused("bitsweep.search", "refused", "NoPlan", str(error)) from error
    plan.write(outputs["plan"], chosen.layer_bits)
    report = {
        "search": wanted,
        "images": len(trial.images),
        "float32_top1_accuracy": search.reference_accuracy,
        **search.report(wanted, chosen),
    }
    Path(outputs["report"]).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _search(inputs: dict, trial: Trial) -> Search:
    network = trying.network(inputs, trial)
    reference = None
    if trial.labels is not None:
        found = metrics.compare(trial.answers, trial.answers, trial.labels)
        reference = found["top1_accuracy"]
    records = json.loads(Path(inputs["frontier"]).read_text(encoding="utf-8"))
    tried = [network.timed(Plan.read(record)) for record in records]
    return Search(network, trial.judge, len(trial.images), reference, tried)
