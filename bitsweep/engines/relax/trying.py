"""What the tasks of a search share: the network to try plans in, and what its layers cost."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bitsweep.engines.relax import ir, target
from bitsweep.engines.relax.quantize import config
from bitsweep.relax import statistics
from bitsweep.relax.transform.annotate import input_groups
from bitsweep.relax.trial import Trial
from bitsweep.search.plans import Network


def trial(inputs: Mapping[str, str], settings: Mapping) -> Trial:
    """Return the network at `ir` and `params`, judged on all images of `selection`.

    `settings` are those of the quantizer that all searches share.
    """
    selection = np.load(inputs["selection"])
    return Trial(
        ir.load(inputs),
        config(settings),
        np.load(inputs["calibration"])["input"],
        selection["input"],
        selection["output"],
        selection.get("label"),
        target.resolve(target.NATIVE),
        statistics.load(inputs["statistics"]),
    )


def network(inputs: Mapping[str, str], tried: Trial) -> Network:
    """Return what the layers cost by `costs`, and by `times` where a search needs them."""
    costs, times = (
        json.loads(Path(inputs[name]).read_text(encoding="utf-8")) if name in inputs else None
        for name in ("costs", "times")
    )
    return Network.of(costs, times, input_groups(tried.canonical, tried.config))
