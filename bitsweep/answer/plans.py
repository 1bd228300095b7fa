"""The table of plans: every plan that was tried in a network, and which search chose it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from bitsweep import metrics, pairs
from bitsweep.answer import left
from bitsweep.outcome import Experiment
from bitsweep.proportions import wilson_interval

COLUMNS: dict[str, str] = {
    **dict.fromkeys(("model", "engine", "target", "kind"), "string"),
    "uniform_bits": "Int64",
    "input_bits": "Int64",
    "mean_weight_bits": "Float64",
    "bytes": "Int64",
    "bytes_vs_float32": "Float64",
    "latency_ms": "Float64",
    "predicted_error": "Float64",
    "error": "Float64",
    "loss": "Float64",
    "images": "Int64",
    **{
        f"top1_{share}{end}": "Float64"
        for share in ("accuracy", "agreement")
        for end in ("", "_low", "_high")
    },
    "reference_top1_accuracy": "Float64",
    **{f"accuracy_difference{end}": "Float64" for end in ("", "_low", "_high", "_p")},
    "chosen_by": "string",
}
_AS_RECORDED = (
    "mean_weight_bits",
    "bytes",
    "latency_ms",
    "predicted_error",
    "error",
    "loss",
    "top1_accuracy",
    "top1_agreement",
)


def collect(searches: Iterable[Experiment], results: Path | str) -> pd.DataFrame:
    """Return a row per plan that was tried in a network on a target, from most bytes to fewest.

    `kind` is `uniform` or `mixed`; a uniform plan has its `uniform_bits`, of the weights, and
    `input_bits` are there where all layers have the same. `bytes` are the layers' as packed,
    errors and losses in nats, `latency_ms` a sum over what was timed. Accuracy, agreement with
    float32 and the difference from float32's accuracy are fractions of the selection `images`, of
    which `_low` and `_high` are 95% intervals, Wilson's and, of the difference, Tango's for pairs;
    its `_p` is McNemar's. `chosen_by` names the precisions that chose the plan. Raises
    `UserError` for a file that is not what its stage left.
    """
    rows = []
    for network, own in left.by_network(searches):
        rows += _rows(network, own, Path(results))
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def _rows(network: Experiment, searches: list[Experiment], results: Path) -> list[dict]:
    folder = results / str(network)
    reports = {
        search.precision: left.read(results / str(search), "search", "search_report.json")
        for search in searches
    }
    chosen: dict[tuple, list[str]] = {}
    tried: dict[tuple, Mapping] = {}
    for record in left.read(folder, "frontier", "frontier_plans.json") or []:
        tried[_bits(record)] = record
    for precision, report in reports.items():
        if report is None:
            continue
        chosen.setdefault(_bits(report["plan"]), []).append(precision)
        for record in report["tried"]:
            known = tried.get(_bits(record))
            # Only a search for latency knows what layers take.
            if known is None or known["latency_ms"] is None:
                tried[_bits(record)] = record
    if not tried:
        return []
    about = _selection(results / network.model)
    costs = left.read(folder, "costs", "layer_costs.json")
    float_bytes = sum(layer["bytes_float32"] for layer in costs["layers"])
    rows = [
        network.model_dump(exclude={"precision"})
        | about
        | _row(record, about)
        | {
            "bytes_vs_float32": record["bytes"] / float_bytes,
            "chosen_by": ", ".join(chosen.get(bits, [])) or None,
        }
        for bits, record in tried.items()
    ]
    return sorted(rows, key=lambda row: (-row["bytes"], row["predicted_error"]))


def _bits(record: Mapping) -> tuple:
    """Return a plan's bits, to tell plans apart by."""
    return tuple((name, *pair) for name, pair in record["layer_bits"].items())


def _row(record: Mapping, about: Mapping) -> dict[str, object]:
    inputs = {pair[1] for pair in record["layer_bits"].values()}
    row = {name: record[name] for name in _AS_RECORDED} | {
        "kind": "mixed" if record["uniform"] is None else "uniform",
        "uniform_bits": record["uniform"],
        "input_bits": inputs.pop() if len(inputs) == 1 else None,
    }
    for name in ("top1_accuracy", "top1_agreement"):
        if row[name] is not None:
            low, high = wilson_interval(row[name], about["images"])
            row |= {f"{name}_low": low, f"{name}_high": high}
    if record["images_lost"] is not None:
        gained, lost = record["images_gained"], record["images_lost"]
        row |= pairs.difference(gained, lost, about["images"])
    return row


def _selection(folder: Path) -> dict[str, object]:
    """Return how many selection images there are, and the float network's accuracy on them."""
    # Members of an .npz are read when they are asked for: the images are not.
    with np.load(left.artifact(folder, "trace", "selection.npz")) as selection:
        answers, labels = selection["output"], selection.get("label")
    found = metrics.compare(answers, answers, labels)
    return {"images": len(answers), "reference_top1_accuracy": found["top1_accuracy"]}
