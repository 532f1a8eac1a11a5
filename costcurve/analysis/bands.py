"""Bands of several curves: at each x their mean and their spread."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from costcurve.core.curve import Curve

# Extent of a band: from the lowest to the highest value, or one sample standard deviation to either side of the mean.
# The deviation is cut at the lowest and the highest value: a band shows no value that no curve has reached.
Reach = Literal["extremes", "deviation"]


@dataclass(frozen=True, slots=True)
class Band:
    """Mean of several curves at each x, and how far they spread.

    Values are NaN where one of the curves is not finite. `full` is the number of leading x that all curves have. After
    them `mean` is over the curves that continue.
    """

    x: Sequence[int]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    full: int


def points_at(chunks: Iterable[Curve], metrics: Sequence[str], numbers: Sequence[int]) -> dict[str, list[float]]:
    """Return each metric's values at the given point numbers (ascending).

    `chunks` are consecutive chunks of a curve. Points past its end are skipped.
    """
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for chunk in chunks:
        here = numbers[bisect_left(numbers, chunk.start) : bisect_left(numbers, chunk.end)]
        for metric in metrics:
            values[metric] += [chunk.series[metric][number - chunk.start] for number in here]
    return values


def band_of(xs: Sequence[int], columns: Sequence[Sequence[float]], reach: Reach) -> Band:
    """Return the band of several curves.

    Args:
        xs: ascending x values; a shorter curve covers a prefix of them.
        columns: the values of each curve at these x.
        reach: extent of the band.
    """
    spreads = [_spread([value for value in row if value is not None], reach) for row in zip_longest(*columns)]
    low, mean, high = zip(*spreads, strict=True) if spreads else ((), (), ())
    return Band(xs[: len(spreads)], mean, low, high, full=min(map(len, columns), default=0))


def _spread(values: Sequence[float], reach: Reach) -> tuple[float, float, float]:
    """Return lower end, mean and upper end of a band."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan, math.nan
    low, high = min(values), max(values)
    # Halves are summed, so that no sum overflows, even if rounded up. The mean is cut at the lowest and highest value.
    mean = min(max(2 * math.fsum(value / len(values) / 2 for value in values), low), high)
    if reach == "deviation":
        deviation = _deviation(values, mean)
        low, high = max(low, mean - deviation), min(high, mean + deviation)
    return low, mean, high


def _deviation(values: Sequence[float], mean: float) -> float:
    """Return the sample standard deviation, divisor n − 1.

    It is 0 for a single value, and infinite if it overflows.
    """
    if len(values) < 2:
        return 0.0
    return math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)
