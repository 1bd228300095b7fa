"""Searches of bits per layer, on the digits with a small candidate set."""

import copy
import json

from bitsweep import tables
from bitsweep.relax import plan
from tests.workflow.checkout import DIGITS

SEARCHES = {
    "few": {"minimise": "bytes", "tolerance": 1.0},
    "nothing_lost": {"minimise": "bytes", "tolerance": 0},
    "hopeless": {"minimise": "error", "bytes": 100},
}
CONFIG = {
    "precisions": {
        **{name: {"relax": {"search": goal}} for name, goal in SEARCHES.items()},
        "misspelt": {"relax": {"plan": "mine.json"}},
    },
    "search": {"weight_bits": [8, 2, 1], "images": 32},
    "models": {"digits": {"precisions": None}},
    "sweep": {
        **DIGITS["sweep"],
        "engines": ["relax"],
        "precisions": ["float32", "int8", *SEARCHES, "misspelt"],
    },
    "sensitivity": {"precisions": []},
}


def with_tolerance(points):
    config = copy.deepcopy(CONFIG)
    config["precisions"]["few"]["relax"]["search"]["tolerance"] = points
    return config


def test_searches_end_in_plans_that_run_or_in_outcomes_and_rerun_alone(digits):
    plan.write(digits.path("mine.json"), {"stem": (8, 8)})
    ended = digits.done(config=CONFIG)
    table = tables.read_summary(digits.path("results/tables/summary.csv"))
    rows = {row["precision"]: row for _, row in table.iterrows()}

    for name in ("few", "nothing_lost"):
        own = f"results/digits/relax/cpu/{name}"
        report = json.loads(digits.path(f"{own}/search_report.json").read_text())
        chosen = plan.read(digits.path(f"{own}/plan.json"))
        assert {weights for weights, _ in chosen.values()} <= {8, 2, 1}
        lost = report["float32_top1_accuracy"] - report["plan"]["top1_accuracy"]
        assert 100 * lost <= SEARCHES[name]["tolerance"] + 1e-9
        assert rows[name]["state"] == "ok"
        assert rows[name]["mean_weight_bits"] == report["plan"]["mean_weight_bits"] < 8
        # Not on the same images: those of the tables no search has seen.
        assert (report["images"], rows[name]["images"]) == (16, 200)
    assert rows["few"]["mean_weight_bits"] <= rows["nothing_lost"]["mean_weight_bits"]

    hopeless = digits.outcome("digits/relax/cpu/hopeless/search")
    assert (hopeless.state, hopeless.error.kind) == ("failed", "refused")
    told = "no plan has at most 100 bytes: the least that there is is "
    assert f"hopeless failed@search: bitsweep.search: {told}" in ended.output
    assert rows["hopeless"]["failed_stage"] == "search"
    told = "layer_bits: no layer is called 'stem'; near it: "
    assert rows["misspelt"]["failed_stage"] == "quantize"
    assert rows["misspelt"]["error_message"].startswith(told)

    assert digits.stale(config=CONFIG) == set()
    stale = digits.stale(config=with_tolerance(5.0))
    ours = ("search", "quantize", "compile", "export")
    ours += ("benchmark", "evaluate", "inspect", "profile")
    assert {job for job in stale if "digits/relax" in job} == {
        f"{stage} digits/relax/cpu/few" for stage in ours
    }
    assert not {job.split()[0] for job in stale} & {"costs", "frontier", "calibrate"}
