"""Allocation: a width for every layer, by an integer program.

A multiple-choice knapsack, as in HAWQ-V3 (Yao et al., 2021, arXiv:2011.10680): each layer takes
exactly one of its candidates, and what they cost adds up.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

QUANTITIES = ("error", "bytes", "latency_ms")

# HiGHS stops at a gap of 1e-6, whatever the scale: so the objective is made large.
_SCALE = 1e6


@dataclass(frozen=True)
class Candidate:
    """A width that a layer may have, and what it costs there.

    `error` is in nats (KL divergence of the network's answers from its float ones, this layer alone
    being quantized), `bytes` those of the packed layer, `latency_ms` its time.
    """

    weight_bits: int
    input_bits: int
    error: float
    bytes: int
    latency_ms: float = 0.0

    @property
    def bits(self) -> tuple[int, int]:
        """Bits of the weights and of the input."""
        return self.weight_bits, self.input_bits


Layers = Mapping[str, Sequence[Candidate]]
Choice = dict[str, Candidate]


class Infeasible(Exception):
    """No plan meets the constraints; `least` is the least that is possible of each alone."""

    def __init__(self, at_most: Mapping[str, float], least: Mapping[str, float]):
        self.least = dict(least)
        told = (
            f"{name} ≤ {at_most[name]:g}, of which {least[name]:g} is the least" for name in least
        )
        super().__init__(f"no plan has {' and '.join(told)}")


def total(chosen: Choice, quantity: str) -> float:
    """Return what a choice costs; bytes exactly, the others as the nearest float."""
    amounts = [getattr(candidate, quantity) for candidate in chosen.values()]
    return sum(amounts) if quantity == "bytes" else math.fsum(amounts)


def allocate(
    layers: Layers,
    minimise: str,
    at_most: Mapping[str, float] | None = None,
    groups: Iterable[Sequence[str]] = (),
) -> Choice:
    """Return each layer's candidate, of which the sum of `minimise` is least.

    `minimise` and the keys of `at_most`, upper bounds of other sums, are of `QUANTITIES`. Layers of
    a group read one tensor and get the same bits of their input. Of plans with equally few bytes
    the one of the least error is returned. The same arguments give the same plan. Raises
    `Infeasible` where no plan meets the bounds.
    """
    at_most = dict(at_most or {})
    chosen = _solve(layers, minimise, at_most, tuple(map(tuple, groups)))
    if chosen is None:
        least = {
            name: total(_solve(layers, name, {}, tuple(map(tuple, groups))), name)
            for name in at_most
        }
        raise Infeasible(at_most, least)
    if minimise == "bytes":
        return allocate(layers, "error", at_most | {"bytes": total(chosen, "bytes")}, groups)
    return chosen


def _solve(layers: Layers, minimise: str, at_most: Mapping[str, float], groups) -> Choice | None:
    """The optimum, checked without the solver's tolerances; None where there is none."""
    items = [
        (name, candidate)
        for name, candidates in layers.items()
        for candidate in _undominated(candidates, (minimise, *at_most))
    ]
    columns: dict[str, list[int]] = {}
    for column, (name, _) in enumerate(items):
        columns.setdefault(name, []).append(column)
    rows = [LinearConstraint(_row(len(items), own), 1, 1) for own in columns.values()]
    rows += _agreements(items, columns, groups)
    for name, bound in at_most.items():
        amounts = np.array([getattr(candidate, name) for _, candidate in items], float)
        scale = max(abs(bound), amounts.max(), np.finfo(float).tiny)
        rows.append(LinearConstraint(amounts / scale, -np.inf, bound / scale))
    objective = np.array([getattr(candidate, minimise) for _, candidate in items], float)
    objective *= _SCALE / max(sum(objective[own].max() for own in columns.values()), 1e-300)
    while True:
        found = milp(
            objective,
            integrality=1,
            bounds=Bounds(0, 1),
            constraints=rows,
            options={"mip_rel_gap": 0},
        )
        if found.x is None:
            return None
        taken = [max(own, key=lambda column: found.x[column]) for own in columns.values()]
        chosen = dict(items[column] for column in taken)
        if all(total(chosen, name) <= bound for name, bound in at_most.items()):
            return chosen
        # Within the solver's tolerance of a bound, but above it: this plan is not to be taken.
        rows.append(LinearConstraint(_row(len(items), taken), -np.inf, len(taken) - 1))


def _undominated(candidates: Sequence[Candidate], quantities: Sequence[str]) -> list[Candidate]:
    """Candidates without those that another of as many input bits is nowhere worse than.

    The optimum needs none of them. Of equal ones the first stays.
    """

    def costs(candidate: Candidate) -> tuple[float, ...]:
        return tuple(getattr(candidate, name) for name in quantities)

    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=costs):
        rivals = (other for other in kept if other.input_bits == candidate.input_bits)
        if not any(
            all(a <= b for a, b in zip(costs(other), costs(candidate), strict=True))
            for other in rivals
        ):
            kept.append(candidate)
    return kept


def _agreements(items, columns: Mapping[str, list[int]], groups) -> list[LinearConstraint]:
    """Rows that give the layers of a group the input bits of its first."""

    def those(name: str, bits: int) -> list[int]:
        return [column for column in columns[name] if items[column][1].input_bits == bits]

    return [
        LinearConstraint(_row(len(items), those(first, bits), those(other, bits)), 0, 0)
        for first, *others in groups
        for other in others
        for bits in sorted({items[c][1].input_bits for c in columns[first] + columns[other]})
    ]


def _row(width: int, ones: Sequence[int], minus_ones: Sequence[int] = ()) -> np.ndarray:
    row = np.zeros(width)
    row[list(ones)], row[list(minus_ones)] = 1, -1
    return row
