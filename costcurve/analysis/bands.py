"""Several curves as one: at each x their mean, and how far they spread around it."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from costcurve.core.curve import Curve

# What a band reaches over: from the lowest to the highest value, or one sample standard deviation to either side, but
# never beyond those two: a band shows nothing that no curve has come to.
Reach = Literal["extremes", "deviation"]


@dataclass(frozen=True, slots=True)
class Band:
    """The mean of some curves at each x, and from where to where they spread; NaN where one of them is not finite.

    `full` is how many of the x, the first ones, all of the curves have; at the others `mean` is over those that go on.
    """

    x: Sequence[int]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    full: int


def points_at(runs: Iterable[Curve], metrics: Sequence[str], numbers: Sequence[int]) -> dict[str, list[float]]:
    """The values of a curve, which comes in consecutive runs, at those of these points, in ascending order, it has."""
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for run in runs:
        here = numbers[bisect_left(numbers, run.start) : bisect_left(numbers, run.end)]
        for metric in metrics:
            values[metric] += [run.series[metric][number - run.start] for number in here]
    return values


def band_of(xs: Sequence[int], columns: Sequence[Sequence[float]], reach: Reach) -> Band:
    """The band of some curves.

    Args:
        xs: ascending; of these a curve has the first ones, up to its end.
        columns: for each curve its values there.
        reach: what the band reaches over.
    """
    spreads = [_spread([value for value in row if value is not None], reach) for row in zip_longest(*columns)]
    low, mean, high = zip(*spreads, strict=True) if spreads else ((), (), ())
    return Band(xs[: len(spreads)], mean, low, high, full=min(map(len, columns), default=0))


def _spread(values: Sequence[float], reach: Reach) -> tuple[float, float, float]:
    """Lower end, mean and upper end."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan, math.nan
    low, high = min(values), max(values)
    # Of halves, so that no sum overflows, even where it is rounded up; and never beyond the values themselves.
    mean = min(max(2 * math.fsum(value / len(values) / 2 for value in values), low), high)
    if reach == "deviation":
        deviation = _deviation(values, mean)
        low, high = max(low, mean - deviation), min(high, mean + deviation)
    return low, mean, high


def _deviation(values: Sequence[float], mean: float) -> float:
    """The sample standard deviation, divisor n − 1; 0 of a single value, and infinite where it overflows."""
    if len(values) < 2:
        return 0.0
    return math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)
