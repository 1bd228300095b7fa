"""What a run left that another is compared with; nothing is written to it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from bitsweep import tables
from bitsweep.errors import UserError
from bitsweep.outcome import KEYS


def folder(path: Path | str) -> Path:
    """Return the results folder that is meant by it, or by the path of its summary.parquet."""
    path = Path(path)
    return path.parent.parent if path.suffix == ".parquet" else path


def check(other: Path | str, results: Path | str = "results") -> None:
    """Raise `UserError` with one sentence where `other` cannot be compared with."""
    summary(folder(other), results)


def summary(results: Path, other_than: Path | str | None = None) -> pd.DataFrame:
    """Return the summary of a results folder, its rows by experiment."""
    said = f"compare = {str(results)!r}"
    if not results.is_dir():
        raise UserError(f"{said}: there is no such folder; give the results of another run")
    if other_than and results.resolve() == Path(other_than).resolve():
        raise UserError(f"{said} is this run's own folder; give the results of another run")
    if not any(results.iterdir()):
        raise UserError(f"{said} is empty; give the results of another run")
    path = results / "tables" / "summary.parquet"
    if not path.is_file():
        begun = next(results.glob("*/trace.json"), None)
        why = "the run there was not finished" if begun else "those are no results of bitsweep"
        raise UserError(f"{said} has no tables/summary.parquet: {why}")
    try:
        table = tables.read_summary(path)
    except UserError as error:
        raise UserError(f"compare: {error}") from None
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise UserError(f"compare: {path} cannot be read, it may be cut short: {said}") from None
    return table.set_index(list(KEYS), drop=False)


def speedups(experiment: Path) -> list[float]:
    """Return the speed-up over float32 that each process measured, of an experiment's folder."""
    path = experiment / "samples.csv"
    try:
        samples = pd.read_csv(path)
        if "process" not in samples:
            samples["process"] = 0
        medians = samples.groupby(["process", "module"])["milliseconds"].median().unstack()
        if "baseline" not in medians:
            return []
        return (medians["baseline"] / medians["candidate"]).dropna().tolist()
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"compare: {path} cannot be read: {str(error).splitlines()[0]}") from None


def right(results: Path, row: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes that images have, and which of them a module has right.

    Where images have no labels, their classes are PyTorch's answers.
    """
    reference = _arrays(results / row["model"] / "reference.npz")
    answers = _arrays(_experiment(results, row) / "outputs.npz")
    try:
        wanted = reference.get("label", reference["output"].argmax(axis=1))
        return wanted, answers["output"].argmax(axis=1) == wanted
    except (KeyError, ValueError) as error:
        path = _experiment(results, row)
        raise UserError(f"compare: the answers in {path} are not its images': {error}") from None


def module_digest(results: Path, row: pd.Series) -> str | None:
    """Return the sha256 of an experiment's module, as its outcome has it."""
    try:
        outcome = json.loads((_experiment(results, row) / "export.json").read_text())
        artifacts = {Path(a["path"]).name: a["sha256"] for a in outcome["artifacts"]}
    except (OSError, ValueError, KeyError) as error:
        path = _experiment(results, row) / "export.json"
        raise UserError(f"compare: {path} cannot be read: {str(error).splitlines()[0]}") from None
    return artifacts.get("module.so")


def _experiment(results: Path, row: pd.Series) -> Path:
    return results / tables.experiment_name(row)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"compare: {path} cannot be read: {str(error).splitlines()[0]}") from None
    except Exception as error:  # zipfile's, of a file that was cut short
        raise UserError(f"compare: {path} cannot be read: {error}") from None
