"""The table of operators: a row for each in every experiment, beside what the machine could do."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from bitsweep import outcome
from bitsweep.outcome import KEYS, Experiment
from bitsweep.profile import peaks
from bitsweep.profile.peaks import Peaks
from bitsweep.tables import reason

STAGE = "profile"

COLUMNS: dict[str, str] = {
    **dict.fromkeys(KEYS, "string"),
    "state": "string",
    "failed_stage": "string",
    "error": "string",
    "position": "Int64",
    "operator": "string",
    "layer": "string",
    "kind": "string",
    "milliseconds": "Float64",
    "share": "Float64",
    "macs": "Int64",
    "bytes": "Int64",
    "arithmetic": "string",
    "gigaproducts_per_second": "Float64",
    "peak_gigaproducts_per_second": "Float64",
    "gigabytes_per_second": "Float64",
    "peak_gigabytes_per_second": "Float64",
    "last_level_bytes": "Int64",
    "whole_ms": "Float64",
    "rest_ms": "Float64",
    "missing": "string",
    "disturbed": "boolean",
}


def collect(
    experiments: Iterable[Experiment], results: Path | str, machine: Path | str
) -> pd.DataFrame:
    """Return a row per operator of each experiment, in the order that they run in.

    `share` is of all operators' time. Products are multiplications with accumulation, of bits where
    `arithmetic` is `bits`, and bytes each tensor's once. Beside what an operator does a second is
    the machine's peak, which `peaks.measure` wrote to `machine`, for as many threads: of this
    arithmetic, and of memory, which what lies in caches (`last_level_bytes`) exceeds. `whole_ms` is
    a run of the network, and `rest_ms` what of it is `missing` in the operators' sum. An experiment
    without a profile has one row, without an operator, and `error` says what failed. Raises
    `UserError` for a file that is not what its stage left.
    """
    rows = []
    for experiment in experiments:
        folder = Path(results) / str(experiment)
        left = outcome.read(folder / f"{STAGE}.json")
        key = {name: getattr(experiment, name) for name in KEYS} | {"state": left.state}
        if left.state != "ok":
            rows.append({**key, "failed_stage": left.failed_stage, "error": reason(left)})
            continue
        outcome.verify([left], [folder / "operators.json"])
        found = json.loads((folder / "operators.json").read_text(encoding="utf-8"))
        about = {name: found[name] for name in ("whole_ms", "rest_ms", "missing")}
        about["disturbed"] = found.get("disturbed")
        roofs = peaks.read(machine, found["cpu_model"], found["threads"])
        rows += [
            {**key, "position": position, **_row(operator, found["sum_ms"], roofs), **about}
            for position, operator in enumerate(found["operators"])
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def _row(operator: Mapping, sum_ms: float, roofs: Peaks) -> dict[str, object]:
    row = {name: operator[name] for name in ("layer", "kind", "macs", "bytes", "arithmetic")}
    milliseconds = operator["milliseconds"]
    row |= {"operator": operator["name"], "milliseconds": milliseconds}
    row["share"] = milliseconds / sum_ms if sum_ms > 0 else None
    row["peak_gigaproducts_per_second"] = roofs.gigaproducts.get(operator["arithmetic"])
    row["peak_gigabytes_per_second"] = roofs.gigabytes
    row["last_level_bytes"] = roofs.last_level_bytes
    if milliseconds <= 0:  # less than the clock can tell
        return row
    if products := operator["bit_products"] or operator["macs"]:
        row["gigaproducts_per_second"] = products / milliseconds / 1e6
    row["gigabytes_per_second"] = operator["bytes"] / milliseconds / 1e6
    return row


def read(path: Path | str) -> pd.DataFrame:
    """Read the CSV file that `tables.write` made of such a table."""
    table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    disturbed = table.pop("disturbed").map({"True": True, "False": False})
    return table.assign(disturbed=disturbed).astype(COLUMNS)[list(COLUMNS)]
