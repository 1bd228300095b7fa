"""Rounding of a layer's weights to the integers of `grid`: scales, roundings, moments."""

from .binary import binary
from .descent import descend
from .gptq import gptq
from .moments import Moments
from .nearest import nearest
from .scales import by_error, by_maximum
from .shrinkage import shrinkage

__all__ = [
    "Moments",
    "binary",
    "by_error",
    "by_maximum",
    "descend",
    "gptq",
    "nearest",
    "shrinkage",
]
