"""The table of chosen plans: a row per layer, with what the layer costs so."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bitsweep.answer import left
from bitsweep.outcome import KEYS, Experiment

COLUMNS: dict[str, str] = {
    **dict.fromkeys((*KEYS, "state", "failed_stage"), "string"),
    "position": "Int64",
    "layer": "string",
    "weight_bits": "Int64",
    "input_bits": "Int64",
    "bytes": "Int64",
    "latency_ms": "Float64",
    "error": "Float64",
    "least_bits": "Int64",
    "least_error": "Float64",
}


def collect(searches: Iterable[Experiment], results: Path | str) -> pd.DataFrame:
    """Return a row per layer of the plan that each search chose, in the network's order.

    `bytes`, `latency_ms` (where layers were timed) and `error` (nats, this layer alone being
    quantized) are the layer's at these bits; `least_error` is its error at `least_bits`, the fewest
    bits of the weights that were tried. A search without a plan has one row, without a layer.
    Raises `UserError` for a file that is not what its stage left.
    """
    rows = []
    for network, own in left.by_network(searches):
        folder = Path(results) / str(network)
        costs = left.read(folder, "costs", "layer_costs.json")
        reports = {
            search: left.read(Path(results) / str(search), "search", "search_report.json")
            for search in own
        }
        timed = any(report and _is_timed(report["search"]) for report in reports.values())
        times = left.read(folder, "time_layers", "layer_times.json") if timed else None
        for search, report in reports.items():
            key = search.model_dump()
            if report is None:
                outcome = left.found(Path(results) / str(search), "search")
                rows.append({**key, "state": "failed", "failed_stage": outcome.failed_stage})
                continue
            rows += [
                {**key, "state": "ok", "position": position}
                | _layer(layer, report["plan"]["layer_bits"][layer["layer"]], times)
                for position, layer in enumerate(costs["layers"])
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def _is_timed(goal: Mapping) -> bool:
    return goal["minimise"] == "latency" or goal["latency_ms"] is not None


def _layer(layer: Mapping, bits: Sequence[int], times: Mapping | None) -> dict[str, object]:
    name, candidates = layer["layer"], layer["candidates"]
    own = next(c for c in candidates if [c["weight_bits"], c["input_bits"]] == list(bits))
    alike = [c for c in candidates if c["input_bits"] == own["input_bits"]]
    least = min(alike, key=lambda candidate: candidate["weight_bits"])
    return {
        "layer": name,
        **{key: own[key] for key in ("weight_bits", "input_bits", "bytes", "error")},
        "latency_ms": times and times["layers"][name][str(own["weight_bits"])],
        "least_bits": least["weight_bits"],
        "least_error": least["error"],
    }
