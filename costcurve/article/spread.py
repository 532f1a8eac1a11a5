"""Mean, spread, and the confidence interval of a mean paired difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from statistics import mean, stdev

# Student's t for a two-sided interval of 95 %, with 1, 2, 3, … degrees of freedom.
_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045),
)
MAX_PAIRS = len(_T_95) + 1


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """The mean of paired differences, its standard error and 95 % interval."""

    mean: float
    standard_error: float
    low: float
    high: float


def mean_difference(differences: Sequence[float]) -> MeanDifference:
    """Return the mean of paired differences, with its 95 % interval.

    Args:
        differences: 1 to 30 finite values. One alone says nothing about chance: its standard error is infinite.
    """
    middle = mean(differences)
    if len(differences) == 1:
        return MeanDifference(middle, inf, -inf, inf)
    error = stdev(differences) / sqrt(len(differences))
    reach = _T_95[len(differences) - 2] * error
    return MeanDifference(middle, error, middle - reach, middle + reach)


def spread_of(values: Sequence[float]) -> tuple[float, float] | None:
    """Return mean and standard deviation, or None if there are none.

    There are none for a single value, or if a value is infinite.
    """
    if len(values) < 2 or not all(map(isfinite, values)):
        return None
    return mean(values), stdev(values)
