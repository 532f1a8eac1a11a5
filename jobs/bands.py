"""Several curves as one: at each x their mean, and how far they spread around it."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from operator import add, sub
from typing import Literal

from jobs.curves import Curve

# What a band reaches over: from the lowest to the highest value, or one sample standard deviation to either side, but
# never beyond those two: a band shows nothing that no curve has come to.
Reach = Literal["extremes", "deviation"]


@dataclass(frozen=True, slots=True)
class Band:
    """The mean of some curves at each x, and from where to where they spread.

    `full` is how many of the x, the first ones, all of the curves have; at the others `mean` is over those that go on.
    """

    x: Sequence[int]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    full: int


def picked(runs: Iterable[Curve], metrics: Sequence[str], xs: Sequence[int]) -> dict[str, list[float]]:
    """The values of a curve, which comes in consecutive runs, at those of the ascending xs that it has."""
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    for run in runs:
        here = [x - run.start for x in xs[bisect_left(xs, run.start) : bisect_left(xs, run.end)]]
        for metric in metrics:
            values[metric] += [run.series[metric][index] for index in here]
    return values


def band_of(xs: Sequence[int], columns: Sequence[Sequence[float]], reach: Reach) -> Band:
    """The band of some curves.

    Args:
        xs: ascending; of these a curve has the first ones, up to its end.
        columns: for each curve its finite values there.
        reach: what the band reaches over.
    """
    rows = [[value for value in row if value is not None] for row in zip_longest(*columns)]
    means, low, high = [_mean(row) for row in rows], [min(row) for row in rows], [max(row) for row in rows]
    if reach == "deviation":
        deviations = [_deviation(row, mean) for row, mean in zip(rows, means, strict=True)]
        low = [max(*both) for both in zip(low, map(sub, means, deviations), strict=True)]
        high = [min(*both) for both in zip(high, map(add, means, deviations), strict=True)]
    return Band(xs[: len(rows)], means, low, high, full=min(map(len, columns), default=0))


def _mean(values: Sequence[float]) -> float:
    # Divided first, so that no sum of finite values overflows; which may round to beyond the values themselves.
    return min(max(math.fsum(value / len(values) for value in values), min(values)), max(values))


def _deviation(values: Sequence[float], mean: float) -> float:
    """The sample standard deviation, divisor n − 1; 0 of a single value, and infinite where it overflows."""
    if len(values) < 2:
        return 0.0
    return math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)
