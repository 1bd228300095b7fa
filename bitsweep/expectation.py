"""Hold outcomes against what the config expects of them."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bitsweep import tables
from bitsweep.errors import UserError


def outcome_of(row: pd.Series) -> str:
    """Return `ok`, `degenerate` or `failed@STAGE` for a row of the summary."""
    if row["state"] == "failed":
        return f"failed@{row['failed_stage']}"
    return "degenerate" if row.fillna(False)["degenerate"] else "ok"


def check(summary: Path | str, expected: Iterable[str]) -> None:
    """Compare a summary's rows, in order, with `expected`; `UserError` names each surprise."""
    rows = [row for _, row in tables.read_summary(summary).iterrows()]
    surprises = [
        f"{tables.experiment_name(row)} is {outcome_of(row)}, expected {wanted}"
        for row, wanted in zip(rows, expected, strict=True)
        if outcome_of(row) != wanted
    ]
    if surprises:
        raise UserError(
            f"{len(surprises)} of {len(rows)} experiments are not as expected: "
            + "; ".join(surprises)
        )
    print(f"all {len(rows)} experiments are as expected")
