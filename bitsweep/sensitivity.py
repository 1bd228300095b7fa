"""The table of sensitivities: what each layer costs a network, quantized alone."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bitsweep import outcome
from bitsweep.outcome import KEYS, Experiment
from bitsweep.tables import reason

STAGE = "sensitivity"

COLUMNS: dict[str, str] = {
    **dict.fromkeys(KEYS, "string"),
    "state": "string",
    "failed_stage": "string",
    "error": "string",
    "position": "Int64",
    "layer": "string",
    "weight_bits": "Int64",
    "input_bits": "Int64",
    "macs": "Int64",
    "weights": "Int64",
    "sqnr_db": "Float64",
    "output_sqnr_db": "Float64",
    "top1_accuracy": "Float64",
    "top1_agreement": "Float64",
}


def collect(experiments: Iterable[Experiment], results: Path | str) -> pd.DataFrame:
    """Return a row per layer of each experiment, in the network's order, from what was left.

    `position` counts the layers of a network; `sqnr_db` is the layer's own output's and
    `output_sqnr_db` the network's, in dB, with only this layer quantized, as are accuracy and
    agreement with PyTorch (fractions). An experiment that failed has one row, without a layer, and
    `error` says what failed. Raises `UserError` for a file that is not what its stage left.
    """
    rows = []
    for experiment in experiments:
        folder = Path(results) / str(experiment)
        left = outcome.read(folder / f"{STAGE}.json")
        key = {name: getattr(experiment, name) for name in KEYS} | {"state": left.state}
        if left.state != "ok":
            rows.append({**key, "failed_stage": left.failed_stage, "error": reason(left)})
            continue
        outcome.verify([left], [folder / "layers.json"])
        layers = json.loads((folder / "layers.json").read_text(encoding="utf-8"))
        rows += [{**key, "position": i, **layer} for i, layer in enumerate(layers)]
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def read(path: Path | str) -> pd.DataFrame:
    """Read the CSV file that `tables.write` made of such a table."""
    table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    return table.astype(COLUMNS)
