"""Verdict of a trial, which compares a changed spec with the spec as it is.

Both are trained with the same seeds, so they are compared pair by pair. A pair is one seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt
from statistics import fmean, stdev
from typing import Literal

from costcurve.analysis.student_t import two_sided_quantile

Outcome = Literal["cured", "helped", "no_difference", "harmful", "undecided"]
Method = Literal["t", "exact"]
Metric = Literal["final_accuracy", "target_distance"]

# Probability with which all looks at a trial together may find a difference that is none.
ALPHA = 0.05
# Differences within one point of accuracy, or 0.01 of a neuron's output, count as none.
MARGIN = 0.01
# A change that wins back this share of what was lost cures it.
WON_BACK = 0.9
# Accuracy that a sound network of the article's size reaches. A diagnosis may supply a better one for the spec.
ATTAINABLE_ACCURACY = 0.95
# Ten digits, equally frequent: a network that has diverged has learnt none.
CHANCE_ACCURACY = 0.1


@dataclass(frozen=True, slots=True)
class Measure:
    """The figure that says what a training has learnt.

    `attainable` is its value for a sound training, and `failed` the value that a diverged training counts as.
    """

    metric: Metric
    attainable: float
    failed: float

    @property
    def sign(self) -> int:
        """1 if higher is better, −1 if lower is better."""
        return 1 if self.metric == "final_accuracy" else -1


def accuracy_measure(attainable: float | None = None) -> Measure:
    """Return the measure of a network: its test accuracy at the end.

    `attainable` is the accuracy of a sound network of this shape and job length; ATTAINABLE_ACCURACY if None.
    """
    return Measure("final_accuracy", ATTAINABLE_ACCURACY if attainable is None else attainable, CHANCE_ACCURACY)


def distance_measure(target: float) -> Measure:
    """Return the measure of a neuron: the distance |a − y| of its output at the end.

    A diverged neuron counts as the output that is farthest from the target.
    """
    return Measure("target_distance", 0.0, max(target, 1 - target))


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a trial that has ended: its figure, or None if it has none.

    `has_diverged` is True if its figures stopped being finite. A run that is neither counts for nothing: it was
    cancelled, or failed for a reason outside the training.
    """

    figure: float | None
    has_diverged: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a trial, over `n` pairs of runs.

    `mean_difference` and `interval` are changed minus as it is, in the unit of the metric. `means` are the two means,
    as it is first. `won_back` is the share of the loss that the change wins back, measured against `attainable`; None
    if nothing was lost. Figures for which there are too few pairs are None. `diverged` counts the runs that count as
    failed, as it is first. `left_out` counts the pairs that cannot be compared.
    """

    outcome: Outcome
    metric: Metric
    mean_difference: float | None
    interval: tuple[float, float] | None
    level: float
    method: Method
    n: int
    means: tuple[float, float] | None
    won_back: float | None
    attainable: float
    diverged: tuple[int, int]
    left_out: int
    looks: int


def least_pairs(alpha: float) -> int:
    """Return the number of pairs below which a trial of random runs decides nothing.

    Runs of one spec may either learn or not, as the seed has it. Of two equal specs, all pairs then differ in one
    direction with probability 2 · (1/4)ⁿ at most: 12.5 % for two pairs. The spread between pairs does not show that.
    """
    return ceil(log(2 / alpha, 4))


def verdict_of(
    pairs: Sequence[tuple[Run, Run]], measure: Measure, *, is_deterministic: bool = False, looks: int = 1
) -> Verdict:
    """Return the verdict of a trial from its pairs of runs.

    Args:
        pairs: the run as it is, and the changed run, of each seed.
        measure: the figure of the runs, with what a sound training attains.
        is_deterministic: True if no number of either spec depends on the seed; one pair then decides exactly.
        looks: most looks at the trial while pairs are added. Each look has an equal part of ALPHA (Bonferroni), so
            that all of them together err with at most ALPHA.
    """
    compared = [pair for pair in pairs if all(run.figure is not None or run.has_diverged for run in pair)]
    figures = [(_figure(as_it_is, measure), _figure(changed, measure)) for as_it_is, changed in compared]
    differences = [changed - as_it_is for as_it_is, changed in figures]
    alpha = ALPHA / looks
    interval = _exact(differences) if is_deterministic else _t_interval(differences, 1 - alpha)
    means = (fmean(one for one, _ in figures), fmean(other for _, other in figures)) if figures else None
    decides = is_deterministic or len(figures) >= least_pairs(alpha)
    return Verdict(
        outcome=_outcome(interval, means, measure) if interval and means and decides else "undecided",
        metric=measure.metric,
        mean_difference=fmean(differences) if differences else None,
        interval=interval,
        level=1 - alpha,
        method="exact" if is_deterministic else "t",
        n=len(figures),
        means=means,
        won_back=_won_back(means, measure) if means else None,
        attainable=measure.attainable,
        diverged=(sum(one.has_diverged for one, _ in compared), sum(other.has_diverged for _, other in compared)),
        left_out=len(pairs) - len(compared),
        looks=looks,
    )


def _figure(run: Run, measure: Measure) -> float:
    return measure.failed if run.figure is None else run.figure


def _exact(differences: Sequence[float]) -> tuple[float, float] | None:
    return (min(differences), max(differences)) if differences else None


def _t_interval(differences: Sequence[float], level: float) -> tuple[float, float] | None:
    """Return Student's interval of the mean difference; None for fewer than two pairs.

    With equal specs the two runs of a pair may change places. The differences are then symmetric about 0, also if the
    runs are not normally distributed.
    """
    n = len(differences)
    if n < 2:
        return None
    half = two_sided_quantile(level, n - 1) * stdev(differences) / sqrt(n)
    mean = fmean(differences)
    return mean - half, mean + half


def _outcome(interval: tuple[float, float], means: tuple[float, float], measure: Measure) -> Outcome:
    """Return the outcome that an interval shows.

    A difference counts only if all of the interval lies beyond the margin, and counts as none if all of it lies within.
    """
    low, high = sorted(measure.sign * bound for bound in interval)
    if low >= -MARGIN and high <= MARGIN:
        return "no_difference"
    if high < -MARGIN:
        return "harmful"
    if low <= MARGIN:
        return "undecided"
    won_back = _won_back(means, measure)
    is_close = measure.sign * (measure.attainable - means[1]) <= MARGIN
    return "cured" if is_close or (won_back is not None and won_back >= WON_BACK) else "helped"


def _won_back(means: tuple[float, float], measure: Measure) -> float | None:
    lost = measure.sign * (measure.attainable - means[0])
    return measure.sign * (means[1] - means[0]) / lost if lost > 0 else None
