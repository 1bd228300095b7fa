"""Repair: from the frontier to the plan that is wanted, by trying plans in the real network.

Errors measured layer by layer stop adding up at few bits, so that no integer program alone tells
which plan holds.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from bitsweep.search.allocation import Infeasible, Layers, allocate, total
from bitsweep.search.plans import Judge, Network, Plan
from bitsweep.search.reweighting import reweighted

_STEPS = 5
_NORMAL_95 = 1.96
_ALIKE = 1.5  # errors that differ by less than this factor
_LEAST_NATS = 1e-9
_CLOSE = 1.02  # budgets nearer to each other than this are not worth a trial between them
_QUANTITIES = {"bytes": "bytes", "latency": "latency_ms"}


class NoPlan(Exception):
    """No plan does what is asked; the message says the best that was found."""


@dataclass
class Search:
    """A search in one network; `tried` are the plans that it rests on, the frontier's at first.

    `images` is how many selection images there are, `reference_accuracy` the float network's top-1
    accuracy on them, None without labels.
    """

    network: Network
    judge: Judge
    images: int
    reference_accuracy: float | None
    tried: list[Plan] = field(default_factory=list)

    def run(self, wanted: Mapping[str, object]) -> Plan:
        """Return the plan of the settings of a search (`bitsweep.config.Search`).

        Raises `NoPlan`.
        """
        if wanted["minimise"] == "error":
            return self.best(_bounds(wanted))
        return self.fewest(_QUANTITIES[wanted["minimise"]], wanted["tolerance"])

    def drop(self, plan: Plan) -> float:
        """Return by how many points a plan's top-1 is below the float network's."""
        if self.reference_accuracy is None:
            lost = 1 - plan.top1_agreement
        else:
            lost = self.reference_accuracy - plan.top1_accuracy
        return round(100 * lost, 9)  # a share of images, which no float holds exactly

    def _lost(self, plan: Plan) -> float:
        """Return which share of the images the float network alone has right."""
        if plan.images_lost is None:
            return 1 - plan.top1_agreement
        return plan.images_lost / self.images

    def holding(self, tolerance: float) -> list[Plan]:
        """Return the tried plans that are within so many points of the float network.

        A few hundred images let one plan pass by luck, and of many that are tried some do. So what
        plans of about as large an error drop has to be within the tolerance too, with its 95 %
        interval, unless that leaves none. Gains are luck, which adds neither to accuracy nor to
        doubt.
        """
        plans = sorted(self.tried, key=lambda plan: plan.error)
        if not plans:
            return []
        error = np.log([max(plan.error, _LEAST_NATS) for plan in plans])
        alike = np.abs(error[:, None] - error) <= np.log(_ALIKE)
        alike = alike / alike.sum(axis=1, keepdims=True)
        drops = np.array([self.drop(plan) for plan in plans])
        usual = alike @ np.maximum(drops, 0)
        lost = alike @ [self._lost(plan) for plan in plans]
        # The variance of a difference of paired answers is the share that differs, at most.
        beyond = _NORMAL_95 * 100 * np.sqrt(lost / self.images)
        passing = drops <= tolerance
        sure = passing & (usual + beyond <= tolerance + 1e-9)
        kept = sure if sure.any() else passing
        return [plan for plan, keep in zip(plans, kept, strict=True) if keep]

    def fewest(self, quantity: str, tolerance: float) -> Plan:
        """Return the plan of the fewest bytes, or milliseconds, within a tolerance in points.

        Between the largest budget at which the mixed plans miss it and the smallest that is known
        to hold, budgets are halved geometrically.
        """

        def amount(plan: Plan) -> float:
            return getattr(plan, quantity)

        def fewest() -> Plan | None:
            key = lambda plan: (amount(plan), plan.badness)  # noqa: E731
            return min(self.holding(tolerance), key=key, default=None)

        if fewest() is None:
            self._try(self.network.layers, {})
        missed = 0.0
        for _ in range(_STEPS):
            best = fewest()
            if best is None:
                break
            held = {id(plan) for plan in self.holding(tolerance)}
            missing = [p for p in self.tried if p.uniform is None and id(p) not in held]
            below = [amount(p) for p in missing if amount(p) * _CLOSE < amount(best)]
            low = max([self._least(quantity), missed, *below])
            if amount(best) < low * _CLOSE:
                break
            budget = math.sqrt(low * amount(best))
            budget = math.floor(budget) if quantity == "bytes" else budget
            for layers in self._costs(budget if quantity == "bytes" else best.bytes):
                self._try(layers, {quantity: budget})
                if amount(fewest()) <= budget:
                    break
            else:
                missed = budget
        if (best := fewest()) is None:
            raise NoPlan(self._told(tolerance))
        return best

    def best(self, bounds: Mapping[str, float]) -> Plan:
        """Return the plan of the least loss (error, without labels) within bounds.

        Tried are the integer program's, and twice its own with errors as they were found to add up;
        plans of the frontier and uniform ones that fit count too.
        """
        self._try(self.network.layers, bounds)
        for _ in range(2):
            nearest = min(self._fitting(bounds), key=lambda plan: plan.badness)
            self._try(reweighted(self.network, self.tried, nearest.bytes), bounds)
        return min(self._fitting(bounds), key=lambda plan: (plan.badness, plan.bytes))

    def _fitting(self, bounds: Mapping[str, float]) -> list[Plan]:
        return [
            plan
            for plan in self.tried
            if all(getattr(plan, name) <= bound for name, bound in bounds.items())
        ]

    def report(self, wanted: Mapping[str, object], chosen: Plan) -> dict[str, object]:
        """Return for JSON what was chosen, what was tried, and the uniform plan to set beside it.

        That is the smallest (fastest) which holds, or the best that is within the budget, None
        where no uniform plan is.
        """
        if wanted["minimise"] == "error":
            uniform = min(
                (plan for plan in self._fitting(_bounds(wanted)) if plan.uniform),
                key=lambda plan: plan.badness,
                default=None,
            )
        else:
            quantity = _QUANTITIES[wanted["minimise"]]
            uniform = min(
                (plan for plan in self.holding(wanted["tolerance"]) if plan.uniform),
                key=lambda plan: getattr(plan, quantity),
                default=None,
            )
        return {
            "plan": chosen.record(),
            "uniform": uniform and uniform.record(),
            "tried": [plan.record() for plan in self.tried],
        }

    def _costs(self, bytes_near: float) -> Iterator[Layers]:
        yield self.network.layers
        yield reweighted(self.network, self.tried, bytes_near)

    def _try(self, layers: Layers, bounds: Mapping[str, float]) -> None:
        """Try the plan of the least error by these costs, unless it has been."""
        rest = self.network.rest_ms or 0.0
        own = {n: b - rest if n == "latency_ms" else b for n, b in bounds.items()}
        try:
            chosen = allocate(layers, "error", own, self.network.groups)
        except Infeasible as error:
            least = {n: v + rest if n == "latency_ms" else v for n, v in error.least.items()}
            raise NoPlan(_too_little(bounds, least)) from None
        bits = {name: candidate.bits for name, candidate in chosen.items()}
        if not any(plan.layer_bits == bits for plan in self.tried):
            self.tried.append(self.network.judged(self.network.choice(bits), self.judge))

    def _least(self, quantity: str) -> float:
        chosen = allocate(self.network.layers, quantity, groups=self.network.groups)
        rest = self.network.rest_ms or 0.0
        return total(chosen, quantity) + (rest if quantity == "latency_ms" else 0)

    def _told(self, tolerance: float) -> str:
        best = min(self.tried, key=lambda plan: (self.drop(plan), plan.error))
        if self.reference_accuracy is None:
            wanted = f"agrees with float32 on {100 - tolerance:g} % of the selection images"
            found = f"agrees on {100 * best.top1_agreement:.1f} %"
        else:
            wanted = (
                f"keeps top-1 within {tolerance:g} points of float32's "
                f"{100 * self.reference_accuracy:.1f} % on the selection images"
            )
            found = f"has {100 * best.top1_accuracy:.1f} %, {self.drop(best):.2f} points below,"
        return (
            f"no plan {wanted}: the best of {len(self.tried)} tried {found} "
            f"on {best.mean_weight_bits:.2f} bits a weight"
        )


def _bounds(wanted: Mapping[str, object]) -> dict[str, float]:
    return {name: wanted[name] for name in ("bytes", "latency_ms") if wanted[name] is not None}


def _too_little(bounds: Mapping[str, float], least: Mapping[str, float]) -> str:
    units = {"bytes": "{:,.0f} bytes", "latency_ms": "{:.4g} ms"}
    wanted = " and ".join(units[name].format(bound) for name, bound in bounds.items())
    possible = " and ".join(units[name].format(amount) for name, amount in least.items())
    return f"no plan has at most {wanted}: the least that there is is {possible}"
