"""Ranking of a sweep's cells, the spread of their results, and differences.

Cells are ranked by the mean of one score over their jobs that succeeded. They are compared seed by seed: jobs of one
seed see the same batches in all cells, so what they have in common drops out of the difference.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from costcurve.core.status import JobStatus

# Mean scores that are equal when rounded to this many decimals are a tie: they differ only by rounding.
_TIE_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Ranking:
    """Figure by which cells are ranked, and which direction is better.

    Cells are ranked by the mean of this figure over their jobs that succeeded.
    """

    figure: str
    better: Literal["higher", "lower"]


# Costs are not comparable: those of different losses have different units.
RANKINGS: Mapping[str, Ranking] = {
    "mnist": Ranking("best_accuracy", "higher"),
    "neuron": Ranking("target_distance", "lower"),
}


@dataclass(frozen=True, slots=True)
class Spread:
    """Distribution of a figure over n values.

    `stdev` is the sample standard deviation, divisor n − 1. It is None for a single value, and if it overflows float64.
    """

    n: int
    mean: float
    stdev: float | None
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one finite value."""
        mean = float(statistics.mean(values))
        return cls(len(values), mean, _stdev(values), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class Difference:
    """Score of a cell minus the leader's, over the seeds they share.

    `mean` and `stdev` are over the n shared seeds. `standard_error` is that of the mean, stdev / √n. It and `stdev` are
    None for fewer than two seeds.
    """

    to_cell: int
    n: int
    mean: float
    stdev: float | None
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class CellJob:
    """One job of a cell, with its score once it has succeeded.

    The cell is ranked by the scores of its jobs.
    """

    id: str
    repeat: int
    seed: int
    status: JobStatus
    score: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a sweep's grid: settings, jobs and their results.

    `cell` counts from 0. `rank` counts from 1, the best. `rank` and `difference` are None until one of its jobs has
    succeeded.
    """

    cell: int
    settings: Mapping[str, Any]
    rank: int | None
    jobs: tuple[CellJob, ...]
    figures: Mapping[str, Spread]
    difference: Difference | None

    @property
    def counts(self) -> dict[JobStatus, int]:
        """Number of jobs in each state."""
        found = Counter(job.status for job in self.jobs)
        return {status: found[status] for status in JobStatus}


# True without a score, the mean score (negated if higher is better), the number of missing scores, the cell's number.
RankKey = tuple[bool, float, int, int]


def rank_key(ranking: Ranking, cell: int, scores: Sequence[float], *, repeats: int) -> RankKey:
    """Return the sort key of a cell: the best mean comes first.

    Of equal means, the cell with more scores comes first, then the one with the lower number. A cell without a score
    comes after all that have one.
    """
    if not scores:
        return (True, 0.0, repeats, cell)
    mean = round(statistics.fmean(scores), _TIE_DECIMALS)
    return (False, -mean if ranking.better == "higher" else mean, repeats - len(scores), cell)


def figures_of(result: Mapping[str, Any], target: float | None) -> dict[str, float]:
    """Return the figures of a stored result.

    A neuron has a target, so its figures include the distance of its output to it, |a − y|.
    """
    figures = {name: value for name, value in result.items() if type(value) in (int, float) and name != "test_size"}
    if target is not None:
        figures["target_distance"] = abs(figures["final_output"] - target)
    return figures


def spreads(figures: Iterable[Mapping[str, float]]) -> dict[str, Spread]:
    """Return the spread of each figure over the jobs that have it."""
    columns: dict[str, list[float]] = {}
    for of_one_job in figures:
        for name, value in of_one_job.items():
            columns.setdefault(name, []).append(value)
    return {name: Spread.of(values) for name, values in columns.items()}


def difference(jobs: Iterable[CellJob], leader: Iterable[CellJob], *, to_cell: int) -> Difference | None:
    """Return the differences of these jobs' scores from the leader's.

    Jobs are paired by seed. Return None if they share no seed.
    """
    of_leader = {job.seed: job.score for job in leader}
    pairs = [(job.score, of_leader.get(job.seed)) for job in jobs]
    differences = [own - other for own, other in pairs if own is not None and other is not None]
    if not differences:
        return None
    spread = Spread.of(differences)
    error = None if spread.stdev is None else spread.stdev / sqrt(spread.n)
    return Difference(to_cell, spread.n, spread.mean, spread.stdev, error)


def _stdev(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    try:
        return statistics.stdev(values)
    except OverflowError:
        return None
