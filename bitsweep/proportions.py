"""What a number of images can tell of a share of them."""

import math

_Z = 1.959964  # the normal distribution's 97.5% quantile


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a share of `count` images (Wilson, 1927)."""
    weight = _Z**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / count / 4)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
