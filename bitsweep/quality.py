"""How good a module's answers are, as the stage `evaluate` leaves it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bitsweep import metrics


def write(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> None:
    """Write `quality`, JSON: `metrics.compare` of `answers` with `reference` (both npz)."""
    answers = np.load(outputs["answers"])["output"]
    reference = np.load(inputs["reference"])
    figures = metrics.compare(answers, reference["output"], reference.get("label"))
    Path(outputs["quality"]).write_text(json.dumps(figures, indent=2) + "\n")
