"""The frontier: the best plans of a ladder of budgets, beside the uniform widths, all tried."""

import itertools
import math

from bitsweep.search.allocation import Choice, allocate, total
from bitsweep.search.plans import Judge, Network, Plan


def explore(network: Network, judge: Judge) -> list[Plan]:
    """Return really quantized plans, from most bytes to fewest.

    They are the uniform widths, and those of the least predicted error within the bytes of each of
    these and, between two of them, within their geometric mean.
    """
    choices = network.uniform()
    for budget in _budgets(network, choices):
        choices.append(allocate(network.layers, "error", {"bytes": budget}, network.groups))
    different = {tuple(choice.items()): choice for choice in choices}
    plans = [network.judged(choice, judge) for choice in different.values()]
    return sorted(plans, key=lambda plan: (-plan.bytes, plan.predicted_error))


def _budgets(network: Network, uniform: list[Choice]) -> list[int]:
    ends = [
        total(allocate(network.layers, "bytes", groups=network.groups), "bytes"),
        sum(max(c.bytes for c in candidates) for candidates in network.layers.values()),
    ]
    rungs = sorted({*ends, *(total(choice, "bytes") for choice in uniform)})
    between = [math.isqrt(low * high) for low, high in itertools.pairwise(rungs)]
    return sorted({*rungs, *between})
