"""What a number of images can tell of the difference of two networks.

Two networks that answer the same images are compared by the images on which they differ: those that
the one has right and the other wrong, `gained` and `lost`. Of the methods for such pairs that
Fagerland, Lydersen and Laake (2014) recommend, the score interval is the one that neither no
difference nor a difference on every image makes empty.
"""

import math

from scipy.optimize import brentq
from scipy.special import bdtr

CHANCE = 0.05
"""A difference whose p is below is more than chance."""

_Z = 1.959964  # the normal distribution's 97.5% quantile
_ASIDE = 1e-9  # of a difference that no pair speaks against, where the variance is zero too


def difference_interval(gained: int, lost: int, count: int) -> tuple[float, float]:
    """Return the 95% score interval of (gained − lost) / count for pairs (Tango, 1998).

    `count` images were answered by both. The interval holds the differences δ that a score test
    does not refuse; zero among them is McNemar's test without continuity correction.
    """
    return _lowest(gained, lost, count), -_lowest(lost, gained, count)


def difference(gained: int, lost: int, count: int) -> dict[str, float]:
    """Return `accuracy_difference`, its interval's ends `_low` and `_high`, and McNemar's `_p`."""
    low, high = difference_interval(gained, lost, count)
    return {
        "accuracy_difference": (gained - lost) / count,
        "accuracy_difference_low": low,
        "accuracy_difference_high": high,
        "accuracy_difference_p": mcnemar_p(gained, lost),
    }


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test that gains and losses are as likely."""
    return float(min(1.0, 2 * bdtr(min(gained, lost), gained + lost, 0.5)))


def _lowest(gained: int, lost: int, count: int) -> float:
    """Return the lowest difference that the score test does not refuse."""
    found = (gained - lost) / count

    def beyond(difference: float) -> float:
        # `losing` is the likeliest share of lost images, were this the difference.
        half = gained + lost - (2 * count - gained + lost) * difference
        root = half**2 + 8 * count * lost * difference * (1 - difference)
        losing = (math.sqrt(max(root, 0.0)) + half) / (4 * count)
        variance = (2 * losing + difference * (1 - difference)) / count
        return found - difference - _Z * math.sqrt(max(variance, 0.0))

    return brentq(beyond, -1.0, max(-1.0, found - _ASIDE))
