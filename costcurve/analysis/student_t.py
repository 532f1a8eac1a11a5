"""Quantiles of Student's t distribution, for confidence intervals of a mean."""

from functools import lru_cache
from math import cos, pi, sin, sqrt, tan

# Halvings of an angle below π/2: the last one is smaller than a float64 can resolve.
_HALVINGS = 60


@lru_cache(maxsize=256)
def two_sided_quantile(level: float, degrees: int) -> float:
    """Return the t that |T| stays below with this probability.

    Args:
        level: the probability, between 0 and 1; 0.95 for a 95 % interval.
        degrees: degrees of freedom, at least 1.

    Raises:
        ValueError: an argument is outside its range.
    """
    if not 0 < level < 1 or degrees < 1:
        raise ValueError(f"level {level} must lie between 0 and 1, and {degrees} degrees of freedom must be 1 or more")
    low, high = 0.0, pi / 2
    for _ in range(_HALVINGS):
        angle = (low + high) / 2
        low, high = (angle, high) if _within(angle, degrees) < level else (low, angle)
    return sqrt(degrees) * tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """Return P(|T| < t) for tan(angle) = t / √degrees.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 (odd degrees) and 26.7.4 (even degrees).
    """
    is_odd = degrees % 2 == 1
    # Odd: cos, 2/3 cos³, (2·4)/(3·5) cos⁵ …; even: 1, 1/2 cos², (1·3)/(2·4) cos⁴ …; up to the power degrees − 2.
    term, total = cos(angle) if is_odd else 1.0, 0.0
    for power in range(1 if is_odd else 0, degrees - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cos(angle) ** 2
    return 2 / pi * (angle + sin(angle) * total) if is_odd else sin(angle) * total
