"""Verdict of a trial, which compares a changed spec with the spec as it is.

Both are trained with the same seeds, so they are compared pair by pair. A pair is one seed. Up to two figures are
judged: what a training has learnt at its end, and how soon, which is the mean of the same figure over its course.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, log, sqrt
from statistics import fmean, stdev
from typing import Literal

from costcurve.analysis.student_t import two_sided_quantile

Outcome = Literal["cured", "helped", "no_difference", "harmful", "undecided"]
Method = Literal["t", "exact"]
Metric = Literal["final_accuracy", "mean_accuracy", "target_distance", "mean_target_distance"]

# Probability with which all looks at all figures of a trial together may find a difference that is none.
ALPHA = 0.05
# Differences within one point of accuracy, or 0.01 of a neuron's output, count as none.
MARGIN = 0.01
# A change that wins back this share of what was lost cures it.
WON_BACK = 0.9
# Ten digits, equally frequent: a network that has diverged has learnt none.
CHANCE_ACCURACY = 0.1

_HIGHER_IS_BETTER: frozenset[Metric] = frozenset({"final_accuracy", "mean_accuracy"})


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure by which trainings are judged.

    `attainable` is its value for a sound training, and `failed` the value that a diverged training counts as.
    """

    metric: Metric
    attainable: float
    failed: float

    @property
    def sign(self) -> int:
        """1 if higher is better, −1 if lower is better."""
        return sign_of(self.metric)


def sign_of(metric: Metric) -> int:
    """Return 1 if higher values of the metric are better, −1 if lower ones are."""
    return 1 if metric in _HIGHER_IS_BETTER else -1


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a trial that has ended: its figure at the end, and the mean of this figure over its course.

    A figure is None if the run has none. `has_diverged` is True if its figures stopped being finite. A run that has no
    figure at the end and has not diverged counts for nothing: it was cancelled, or failed for a reason outside the
    training.
    """

    figure: float | None
    has_diverged: bool = False
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Findings of the pairs of runs about one figure.

    `mean_difference` and `interval` are changed minus as it is, in the unit of the metric. `means` are the two means,
    as it is first. `won_back` is the share of the loss that the change wins back, measured against `attainable`; None
    if nothing was lost. Figures for which there are too few pairs are None.
    """

    outcome: Outcome
    metric: Metric
    mean_difference: float | None
    interval: tuple[float, float] | None
    means: tuple[float, float] | None
    won_back: float | None
    attainable: float

    @property
    def better_by(self) -> tuple[float, float] | None:
        """The interval as an improvement: positive numbers are better."""
        if self.interval is None:
            return None
        low, high = sorted(sign_of(self.metric) * bound for bound in self.interval)
        return low, high


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a trial, over `n` pairs of runs.

    `end` judges the figure at the end, and `course` its mean over the training; None if that was not judged. `level` is
    that of each interval. `diverged` counts the runs that count as failed, as it is first. `left_out` counts the pairs
    that cannot be compared.
    """

    end: Judgement
    course: Judgement | None
    level: float
    method: Method
    n: int
    diverged: tuple[int, int]
    left_out: int
    looks: int

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """All judgements, that of the end first."""
        return (self.end,) if self.course is None else (self.end, self.course)

    @property
    def deciding(self) -> Judgement:
        """The judgement that the verdict follows.

        The end decides wherever it shows a difference. Otherwise the course decides if the end is alike, or if the end
        is undecided and certainly not in the opposite direction.
        """
        end, course = self.end, self.course
        if course is None or end.outcome not in ("no_difference", "undecided"):
            return end
        if end.outcome == "no_difference":
            return end if course.outcome == "no_difference" else course
        if end.better_by is None:
            return end
        low, high = end.better_by
        learns_sooner = course.outcome in ("cured", "helped") and low >= -MARGIN
        learns_later = course.outcome == "harmful" and high <= MARGIN
        return course if learns_sooner or learns_later else end

    @property
    def outcome(self) -> Outcome:
        """The outcome of the deciding judgement."""
        return self.deciding.outcome


def least_pairs(alpha: float) -> int:
    """Return the number of pairs below which a trial of random runs decides nothing.

    Runs of one spec may either learn or not, as the seed has it. Of two equal specs, all pairs then differ in one
    direction with probability 2 · (1/4)ⁿ at most: 12.5 % for two pairs. The spread between pairs does not show that.
    """
    return ceil(log(2 / alpha, 4))


def verdict_of(
    pairs: Sequence[tuple[Run, Run]],
    measure: Measure,
    course: Measure | None = None,
    *,
    is_deterministic: bool = False,
    looks: int = 1,
) -> Verdict:
    """Return the verdict of a trial from its pairs of runs.

    Args:
        pairs: the run as it is, and the changed run, of each seed.
        measure: the figure of the runs at the end.
        course: the mean of this figure over a training, which shows how soon it learns; None if the courses of the two
            specs cannot be compared. It is not judged either if a compared run does not have it.
        is_deterministic: True if no number of either spec depends on the seed; one pair then decides exactly.
        looks: most looks at the trial while pairs are added. Each figure at each look has an equal part of ALPHA
            (Bonferroni), so that all of them together err with at most ALPHA.
    """
    compared = [pair for pair in pairs if all(run.figure is not None or run.has_diverged for run in pair)]
    if any(run.mean is None and not run.has_diverged for pair in compared for run in pair):
        course = None
    alpha = ALPHA / looks / (1 if course is None else 2)
    judge = partial(_judgement, alpha=alpha, is_deterministic=is_deterministic)
    at_end = [(one.figure, other.figure) for one, other in compared]
    over_course = [(one.mean, other.mean) for one, other in compared]
    return Verdict(
        end=judge(at_end, measure),
        course=None if course is None else judge(over_course, course),
        level=1 - alpha,
        method="exact" if is_deterministic else "t",
        n=len(compared),
        diverged=(sum(one.has_diverged for one, _ in compared), sum(other.has_diverged for _, other in compared)),
        left_out=len(pairs) - len(compared),
        looks=looks,
    )


def _or_failed(figure: float | None, measure: Measure) -> float:
    """Return the figure of a run, or that of a failed training if it has none."""
    return measure.failed if figure is None else figure


def _judgement(
    pairs: Sequence[tuple[float | None, float | None]], measure: Measure, *, alpha: float, is_deterministic: bool
) -> Judgement:
    """Return what pairs of one figure show, where None is the figure of a diverged run.

    The interval does not cover the true mean difference with probability `alpha`.
    """
    figures = [(_or_failed(one, measure), _or_failed(other, measure)) for one, other in pairs]
    differences = [changed - as_it_is for as_it_is, changed in figures]
    interval = _exact(differences) if is_deterministic else _t_interval(differences, 1 - alpha)
    means = (fmean(one for one, _ in figures), fmean(other for _, other in figures)) if figures else None
    decides = is_deterministic or len(figures) >= least_pairs(alpha)
    return Judgement(
        outcome=_outcome(interval, means, measure) if interval and means and decides else "undecided",
        metric=measure.metric,
        mean_difference=fmean(differences) if differences else None,
        interval=interval,
        means=means,
        won_back=_won_back(means, measure) if means else None,
        attainable=measure.attainable,
    )


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
