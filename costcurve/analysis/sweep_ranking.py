"""What became of a sweep's cells: how their jobs' figures are spread, which cell is best, by how much others differ.

Cells are ranked by the mean of one score over their jobs that succeeded, and compared seed by seed: jobs of one seed
see the same batches in all cells, so that what is common to them drops out of the difference.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from costcurve.core.status import JobStatus

# Means of scores that are this close, as decimals, differ by rounding only: it is a tie.
_TIE_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Ranking:
    """By which figure of their jobs the cells of a sweep are ranked, and whether a higher or a lower one is better."""

    figure: str
    better: Literal["higher", "lower"]


# Costs are no measure: those of different losses have different units.
RANKINGS: Mapping[str, Ranking] = {
    "mnist": Ranking("best_accuracy", "higher"),
    "neuron": Ranking("target_distance", "lower"),
}


@dataclass(frozen=True, slots=True)
class Spread:
    """How a figure is spread over n values; `stdev` is the sample standard deviation, divisor n − 1.

    `stdev` is None of a single value, and of values so far apart that no float64 holds it.
    """

    n: int
    mean: float
    stdev: float | None
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one finite value."""
        mean = float(statistics.mean(values))
        return cls(len(values), mean, _stdev(values), float(min(values)), float(max(values)))


@dataclass(frozen=True, slots=True)
class Difference:
    """The score of a cell minus that of the leader with the same seed: mean and spread over the n seeds they share.

    `standard_error` is that of the mean, stdev / √n; it and `stdev` are None for fewer than two seeds.
    """

    to_cell: int
    n: int
    mean: float
    stdev: float | None
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class CellJob:
    """One job of a cell; its score, by which the cell is ranked, once it has succeeded."""

    id: str
    repeat: int
    seed: int
    status: JobStatus
    score: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a sweep's grid, counted from 0: what it sets, its jobs, and what they came to.

    `rank` counts from 1, the best; it and `difference` are None while none of its jobs has succeeded.
    """

    cell: int
    settings: Mapping[str, Any]
    rank: int | None
    jobs: tuple[CellJob, ...]
    figures: Mapping[str, Spread]
    difference: Difference | None

    @property
    def counts(self) -> dict[JobStatus, int]:
        """How many of its jobs are in each state."""
        found = Counter(job.status for job in self.jobs)
        return {status: found[status] for status in JobStatus}


# Whether it has no score, its mean score (negative if higher is better), how many scores are missing, its number.
RankKey = tuple[bool, float, int, int]


def rank_key(ranking: Ranking, cell: int, scores: Sequence[float], *, repeats: int) -> RankKey:
    """Where a cell stands among others: the best mean first, of equal ones that of more scores, then of lower number.

    A cell without a score stands behind all that have one.
    """
    if not scores:
        return (True, 0.0, repeats, cell)
    mean = round(statistics.fmean(scores), _TIE_DECIMALS)
    return (False, -mean if ranking.better == "higher" else mean, repeats - len(scores), cell)


def figures_of(result: Mapping[str, Any], target: float | None) -> dict[str, float]:
    """The figures of a stored result; of a neuron, which has a target, also its output's distance to it, |a − y|."""
    figures = {name: value for name, value in result.items() if type(value) in (int, float) and name != "test_size"}
    if target is not None:
        figures["target_distance"] = abs(figures["final_output"] - target)
    return figures


def spreads(figures: Iterable[Mapping[str, float]]) -> dict[str, Spread]:
    """The spread of each figure over the jobs that have it."""
    columns: dict[str, list[float]] = {}
    for of_one_job in figures:
        for name, value in of_one_job.items():
            columns.setdefault(name, []).append(value)
    return {name: Spread.of(values) for name, values in columns.items()}


def difference(jobs: Iterable[CellJob], leader: Iterable[CellJob], *, to_cell: int) -> Difference | None:
    """How the scores of these jobs differ from those of the leader's with the same seeds; None if they share none."""
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
