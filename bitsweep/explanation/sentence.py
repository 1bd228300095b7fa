"""Explanations of a summary's experiments, as sentences."""

from pathlib import Path

import pandas as pd

from bitsweep.answer import left
from bitsweep.config import BASELINE
from bitsweep.explanation.evidence import Evidence
from bitsweep.explanation.rules import RULES
from bitsweep.outcome import KEYS


def explained(summary: pd.DataFrame, layers: pd.DataFrame, results: Path | str) -> pd.DataFrame:
    """Return the summary with an `explanation` for each experiment that has a profile.

    `layers` is the table of operators of the same experiments (`profile.table.collect`). Raises
    `UserError` for a file under `results` that is not what its stage left.
    """
    measured = layers[layers["state"] == "ok"]
    operators = {key: group for key, group in measured.groupby(list(KEYS), sort=False)}
    sentences = []
    for _, row in summary.iterrows():
        key = tuple(row[name] for name in KEYS)
        own = operators.get(key)
        if own is None:
            sentences.append(pd.NA)
            continue
        is_baseline = row["precision"] == BASELINE
        code = left.read(Path(results).joinpath(*key), "inspect", "code.json")
        # A ratio that was taken beside other work tells nothing.
        is_told = not is_baseline and row[["speedup_vs_float32", "disturbed"]].notna().all()
        evidence = Evidence(
            own,
            float32=None if is_baseline else operators.get((*key[:3], BASELINE)),
            speedup=row["speedup_vs_float32"] if is_told and not row["disturbed"] else None,
            instructions=code and code["instructions"],
        )
        sentences.append(sentence(f"{row['engine']}/{row['precision']}", evidence))
    return summary.assign(explanation=pd.array(sentences, dtype="string"))


def sentence(name: str, evidence: Evidence) -> str | None:
    """Return what all rules say of an experiment, None where none does."""
    told = [part for rule in RULES if (part := rule(evidence))]
    if not told:
        return None
    speedup = evidence.speedup
    if speedup is None:
        head = name
    elif speedup < 1:
        head = f"{name} is {speedup:.2f} of float32's speed"
    else:
        head = f"{name} is {speedup:.2f}x as fast as float32"
    return f"{head}: {'; '.join(told)}"
