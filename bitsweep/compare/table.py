"""The table of a comparison: one row for each experiment of either run."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from bitsweep import pairs, tables
from bitsweep.compare import reading, speed
from bitsweep.config import BASELINE
from bitsweep.errors import UserError
from bitsweep.outcome import KEYS

COLUMNS = {
    **dict.fromkeys((*KEYS, "speed", "why", "accuracy", "failure"), "string"),
    **dict.fromkeys(("ratio", "ratio_low", "ratio_high", "ratio_p"), "Float64"),
    **dict.fromkeys(("old_processes", "new_processes", "images", "gained", "lost"), "Int64"),
    **dict.fromkeys(("accuracy_difference", "accuracy_difference_low"), "Float64"),
    **dict.fromkeys(("accuracy_difference_high", "accuracy_difference_p"), "Float64"),
    **dict.fromkeys(("old_module_bytes", "new_module_bytes"), "Int64"),
    **dict.fromkeys(("same_module", "same_float32"), "boolean"),
    **dict.fromkeys(("old_failure", "new_failure"), "string"),
}

# What has to be the same for two speeds, or answers, to be compared, and how it is called.
_SURROUNDINGS = {
    "cpu_model": "CPU",
    "threads": "number of threads",
    "inputs": "number of inputs",
    "cold": "state of the caches",
}
_SETTINGS = {
    "parameters": "model",
    "weight_bits": "setting of weights' bits",
    "activation_bits": "setting of activations' bits",
}
FAIL_ON = {"slower": "speed", "broken": "failure", "less_accurate": "accuracy"}


def compare(old: Path | str, new: Path | str) -> pd.DataFrame:
    """Return what changed from the results `old` to `new`, `COLUMNS` by experiment.

    `ratio` is of speeds relative to float32, above 1 the new one is the faster; an accuracy's
    difference is new minus old. Raises `UserError` for a file that cannot be read.
    """
    folders = reading.folder(old), Path(new)
    runs = [reading.summary(folder) for folder in folders]
    names = list(dict.fromkeys([*runs[1].index, *runs[0].index]))
    rows, changes = [], {}
    for number, name in enumerate(names):
        found = [run.loc[name] if name in run.index else None for run in runs]
        row, change = _row(folders, found)
        rows.append(dict(zip(KEYS, name, strict=True)) | row)
        if change:
            changes[number] = change
    for number, verdict in zip(changes, speed.verdicts(list(changes.values())), strict=True):
        row = rows[number]
        if row["same_module"] and verdict in ("faster", "slower"):
            verdict, row["why"] = "inconclusive", "the modules are the same, byte for byte"
        row["speed"] = verdict
    _judge_accuracy(rows)
    return pd.DataFrame(rows, columns=list(COLUMNS), dtype=object).astype(COLUMNS)


def _row(
    folders: tuple[Path, Path], found: list[pd.Series | None]
) -> tuple[dict[str, object], speed.Change | None]:
    row: dict[str, object] = {"speed": "incomparable"}
    if any(one is None for one in found):
        return row | {"why": f"only in the {'new' if found[0] is None else 'old'} run"}, None
    failures = [_failure(one) for one in found]
    row |= {"failure": _moved(*failures), "old_failure": failures[0], "new_failure": failures[1]}
    for which, one in zip(("old", "new"), found, strict=True):
        row[f"{which}_module_bytes"] = one["module_size_bytes"]
    if changed := _changed(found, _SETTINGS):
        return row | {"why": f"another {changed}"}, None
    if all(one["evaluate_state"] == "ok" for one in found):
        row |= _accuracy(folders, found)
    if any(one["benchmark_state"] != "ok" for one in found):
        return row | {"why": "not timed in both runs"}, None
    if changed := _changed(found, _SURROUNDINGS):
        return row | {"why": f"another {changed}"}, None
    if found[0]["precision"] == BASELINE:
        return row | {"why": "float32 is what the others are compared by"}, None
    baselines = [one.copy() for one in found]
    for one in baselines:
        one["precision"] = BASELINE
    row["same_module"] = _same_module(folders, found)
    row["same_float32"] = _same_module(folders, baselines)
    speedups = [
        reading.speedups(folder / tables.experiment_name(one))
        for folder, one in zip(folders, found, strict=True)
    ]
    if not all(speedups):
        return row | {"why": "not timed beside float32"}, None
    change = speed.change(*speedups)
    row |= {"ratio": change.ratio, "ratio_low": change.low, "ratio_high": change.high}
    row |= {"ratio_p": change.p, "old_processes": len(speedups[0])}
    row |= {"new_processes": len(speedups[1])}
    if min(map(len, speedups)) < speed.FEWEST:
        row["why"] = f"fewer than {speed.FEWEST} processes: their spread is assumed"
    return row, change


def _failure(row: pd.Series) -> str | None:
    """Return where an experiment failed: stage, and place in TVM or the kind of failure."""
    if row["state"] != "failed":
        return None
    told = {name: None if pd.isna(row[name]) else row[name] for name in row.index}
    where = tables.place(told["error_function"], told["error_file"], told["error_line"])
    return f"{row['failed_stage']}: {where or told['error_type']}"


def _moved(old: str | None, new: str | None) -> str | None:
    if old == new:
        return old and "unmoved"
    return "broken" if old is None else "mended" if new is None else "moved"


def _changed(found: list[pd.Series], columns: Mapping[str, str]) -> str | None:
    for column, called in columns.items():
        old, new = (one[column] for one in found)
        if pd.isna(old) != pd.isna(new) or (not pd.isna(old) and old != new):
            return called
    return None


def _same_module(folders: tuple[Path, Path], found: list[pd.Series]) -> bool:
    old, new = map(reading.module_digest, folders, found)
    return old is not None and old == new


def _accuracy(folders: tuple[Path, Path], found: list[pd.Series]) -> dict[str, object]:
    (wanted, old), (wanted_now, new) = map(reading.right, folders, found)
    if not np.array_equal(wanted, wanted_now):
        return {"accuracy": "incomparable"}
    gained, lost = int((new & ~old).sum()), int((old & ~new).sum())
    told = {"images": len(old), "gained": gained, "lost": lost}
    return told | pairs.difference(gained, lost, len(old))


def _judge_accuracy(rows: list[dict[str, object]]) -> None:
    """Say which accuracies changed, p adjusted over the table as that of speeds is."""
    judged = [row for row in rows if "accuracy_difference_p" in row]
    if not judged:
        return
    adjusted = false_discovery_control([row["accuracy_difference_p"] for row in judged])
    for row, p in zip(judged, adjusted, strict=True):
        changed = "more_accurate" if row["gained"] > row["lost"] else "less_accurate"
        same = "same" if row["gained"] == row["lost"] == 0 else "inconclusive"
        row["accuracy"] = changed if p < speed.LEVEL else same


def summary(table: pd.DataFrame) -> list[str]:
    """Return the comparison in a few lines."""
    lines = []
    for column, title in (("speed", "speed"), ("accuracy", "accuracy"), ("failure", "failures")):
        counts = table[column].value_counts()
        told = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items())
        lines.append(f"{title}: {told or 'none'}")
    both = table.dropna(subset=["old_module_bytes", "new_module_bytes"])
    larger = int((both["new_module_bytes"] > both["old_module_bytes"]).sum())
    smaller = int((both["new_module_bytes"] < both["old_module_bytes"]).sum())
    lines.append(
        f"modules: {larger} larger, {smaller} smaller, {len(both) - larger - smaller} as large"
    )
    if (~table["same_float32"].fillna(True)).any():
        lines.append(
            "float32's own modules differ: ratios are relative to float32, so that what "
            "changed may be float32"
        )
    for _, row in table.iterrows():
        if row.fillna("")["speed"] in ("faster", "slower"):
            lines.append(
                f"{tables.experiment_name(row)}: {row['speed']}, {row['ratio']:.3f} "
                f"[{row['ratio_low']:.3f}, {row['ratio_high']:.3f}] times as fast"
            )
        if row.fillna("")["accuracy"] in ("more_accurate", "less_accurate"):
            lines.append(
                f"{tables.experiment_name(row)}: {row['accuracy'].replace('_', ' ')}, "
                f"{100 * row['accuracy_difference']:+.1f} points"
            )
        if row.fillna("")["failure"] in ("broken", "mended", "moved"):
            lines.append(
                f"{tables.experiment_name(row)}: {row['failure']}, "
                + " -> ".join(row.fillna("ok")[["old_failure", "new_failure"]])
            )
    return lines


def require(table: pd.DataFrame, fail_on: Collection[str]) -> None:
    """Raise `UserError` naming the experiments with a verdict of `fail_on`, keys of `FAIL_ON`."""
    named = [
        f"{tables.experiment_name(row)} is {verdict.replace('_', ' ')}"
        for verdict in fail_on
        for _, row in table[(table[FAIL_ON[verdict]] == verdict).fillna(False)].iterrows()
    ]
    if named:
        raise UserError("; ".join(named))


def read(path: Path | str) -> pd.DataFrame:
    """Read the CSV of a comparison."""
    return pd.read_csv(path, dtype=COLUMNS)
