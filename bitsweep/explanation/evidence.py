"""What is known of an experiment that may explain its speed."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bitsweep.profile.operators import LAYERS


@dataclass(frozen=True)
class Evidence:
    """An experiment's operators, rows of `profile.table`, and float32's on the same engine.

    `speedup` is over float32, timed in turn with it; `instructions` counts those of its module by
    mnemonic. What is not known is None; float32 itself has no other float32 beside it.
    """

    operators: pd.DataFrame
    float32: pd.DataFrame | None = None
    speedup: float | None = None
    instructions: Mapping[str, int] | None = None

    @property
    def layers(self) -> pd.DataFrame:
        """The convolutions and dense layers."""
        return layers_of(self.operators)

    @property
    def is_float(self) -> bool:
        """Whether all layers compute on floats, as far as it is known of them."""
        return bool((self.layers["arithmetic"].dropna() == "float").all())

    @property
    def meant(self) -> pd.DataFrame:
        """The layers that the experiment is about: those left in floats are none, if others are."""
        layers = self.layers
        return layers if self.is_float else layers[layers["arithmetic"].ne("float").fillna(True)]


def layers_of(operators: pd.DataFrame) -> pd.DataFrame:
    """Return the operators that are convolutions or dense layers."""
    return operators[operators["kind"].isin(LAYERS)]


def share(operators: pd.DataFrame) -> float:
    """Return the operators' share of their network's time."""
    return float(operators["share"].sum())
