"""What Snakemake's report opens with, in reStructuredText: the answer for each model."""

from collections.abc import Iterator

import pandas as pd

from bitsweep import gains
from bitsweep.config import BASELINE
from bitsweep.outcome import KEYS
from bitsweep.pairs import CHANCE
from bitsweep.summary import answers
from bitsweep.tables import share, warnings

_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\*`_|"})


def opening(summary: pd.DataFrame) -> str:
    """Return what became of each model of a summary (`tables.collect`) as reStructuredText.

    What a search found comes first, then which experiment is the fastest and which the smallest of
    those that keep what the network answers, then which are slower than float32 and why, what
    tuning gives, and what failed.
    """
    parts = [f"**Warning:** {_plain(sentence)}." for sentence in warnings(summary)]
    for model, of_model in summary.groupby("model", sort=False):
        title = _plain(model)
        told = [f"- {line}" for line in _told(of_model)]
        parts += [f"{title}\n{'-' * len(title)}", "\n".join(told)]
    return "\n\n".join(parts) + "\n"


def _told(of_model: pd.DataFrame) -> Iterator[str]:
    for answer in answers(of_model):
        yield f"**Fewest bits.** {_plain(answer)}."
    keeping = _keeping(of_model)
    best = {
        what: known[column].idxmin()
        for what, column in (("fastest", "latency_median_ms"), ("smallest", "module_size_bytes"))
        if len(known := keeping.dropna(subset=[column]))
    }
    for index in dict.fromkeys(best.values()):
        titles = " and ".join(what for what, place in best.items() if place == index)
        row = keeping.loc[index]
        why = "" if pd.isna(row["explanation"]) else f" Why: {row['explanation']}."
        yield f"**{titles.capitalize()}.** {_plain(_figures(row) + why)}"
    slower = of_model[(of_model["speedup_vs_float32"] < 1).fillna(False)]
    for _, row in slower[slower["precision"] != BASELINE].dropna(subset=["explanation"]).iterrows():
        yield f"**Slower than float32.** {_plain(row['explanation'])}."
    for gained in gains.sentences(of_model):
        yield f"**Tuning.** {_plain(gained)}."
    failed = of_model[of_model["state"] == "failed"]
    if len(failed):
        names = ", ".join(f"{_short(row)} in {row['failed_stage']}" for _, row in failed.iterrows())
        yield f"**Failed.** {len(failed)} of {len(of_model)}: {_plain(names)}."
    if of_model["trained"].eq(False).any():
        yield "Its weights are untrained: accuracy has no meaning, agreement with PyTorch does."


def _keeping(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the experiments that answer like float32, as far as their images tell."""
    worse = (rows["accuracy_difference"] < 0) & (rows["accuracy_difference_p"] < CHANCE)
    return rows[~rows["degenerate"].fillna(True) & ~worse.fillna(False)]


def _figures(row: pd.Series) -> str:
    """Return what an experiment comes to, in the order of what its user asks."""
    told = []
    if pd.notna(row["latency_median_ms"]):
        told.append(f"{row['latency_median_ms']:.4g} ms")
        if row["disturbed"]:
            told.append("taken while others used the CPUs")
    if row["precision"] != BASELINE and pd.notna(row["speedup_vs_float32"]):
        told.append(f"{row['speedup_vs_float32']:.2f} times as fast as {row['engine']}'s float32")
    if pd.notna(row["module_size_bytes"]):
        told.append(f"{row['module_size_bytes'] / 1e6:#.3g} MB")
    for name, of in (("top1_accuracy", "top-1"), ("top1_agreement", "agreement with PyTorch")):
        if pd.notna(row[name]):
            told.append(f"{of} {share(row, name)}")
            break
    return f"{_short(row)}: {', '.join(told)}."


def _short(row: pd.Series) -> str:
    """Return an experiment as its path below its model's."""
    return "/".join(row[key] for key in KEYS[1:])


def _plain(text: str) -> str:
    """Return text as reStructuredText that shows it as it is."""
    return text.translate(_MARKUP)
