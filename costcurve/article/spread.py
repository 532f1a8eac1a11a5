"""Mean, spread, and how sure a mean difference between pairs is."""

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
    """The mean of paired differences, its standard error, and between which figures it lies with 95 %."""

    mean: float
    standard_error: float
    low: float
    high: float


def mean_difference(differences: Sequence[float]) -> MeanDifference:
    """How much one is above the other, from 1 to 30 pairs of finite figures.

    One pair says nothing about chance: its error is infinite.
    """
    middle = mean(differences)
    if len(differences) == 1:
        return MeanDifference(middle, inf, -inf, inf)
    error = stdev(differences) / sqrt(len(differences))
    reach = _T_95[len(differences) - 2] * error
    return MeanDifference(middle, error, middle - reach, middle + reach)


def spread_of(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and standard deviation of several figures; None where one of them is infinite, or there is only one."""
    if len(values) < 2 or not all(map(isfinite, values)):
        return None
    return mean(values), stdev(values)
