"""Responses about sweeps and their cells as typed objects."""

from datetime import datetime
from typing import Any

from pydantic import Field

from costcurve.client.trial_types import TrialLink, Verdict
from costcurve.client.types import Answer
from costcurve.core.placement import PlacedAnswer


class Spread(Answer):
    """Statistics of one result figure over n jobs.

    `stdev` is the sample standard deviation (divisor n − 1); None for one job.
    """

    n: int
    mean: float
    stdev: float | None = None
    min: float
    max: float


class SeedDifference(Answer):
    """Difference between a cell's scores and those of the best cell.

    Scores are compared for equal seeds, over the n seeds that both cells have.
    """

    to_cell: int
    n: int
    mean: float
    stdev: float | None = None
    standard_error: float | None = None


class CellJob(Answer):
    """One job of a cell, with the score that ranks its cell.

    `score` is None until the job has succeeded.
    """

    id: str
    repeat: int
    seed: int
    status: str
    score: float | None = None


class Cell(Answer):
    """Cell of a sweep: settings, jobs and the spread of their results.

    `rank` counts from 1, the best cell. It is None until one of its jobs has succeeded.
    """

    cell: int
    settings: dict[str, Any]
    rank: int | None = None
    counts: dict[str, int]
    figures: dict[str, Spread] = Field(default={})
    difference: SeedDifference | None = None
    jobs: list[CellJob] = Field(default=[])


class Ranking(Answer):
    """Rule that ranks cells: the figure whose mean is compared.

    `better` is `higher` or `lower`.
    """

    figure: str
    better: str


class CellPage(Answer):
    """One page of the cells of a sweep.

    `next_cursor` is the cursor of the next page; None on the last page.
    """

    ranking: Ranking
    items: list[Cell]
    next_cursor: str | None = None


class Sweep(Answer, PlacedAnswer):
    """Sweep as submitted, with the number of its jobs in each state.

    `leaderboard` holds its best cells if the sweep was requested by its id. `trial` says what a trial tests, and
    `verdict` its result once it has ended and was requested by its id.
    """

    grid: dict[str, list[Any]]
    variants: list[dict[str, Any]] = Field(default=[])
    repeats: int
    cells: int
    total: int
    counts: dict[str, int]
    is_terminal: bool
    preset: str | None = None
    spec: dict[str, Any] = Field(default={})
    ranking: Ranking | None = None
    leaderboard: list[Cell] = Field(default=[])
    trial: TrialLink | None = None
    verdict: Verdict | None = None
    created_at: datetime

    @property
    def ended(self) -> int:
        """Number of jobs that have succeeded, failed or been cancelled."""
        return self.total - sum(self.counts.get(status, 0) for status in ("queued", "running", "paused"))

    @property
    def varied(self) -> list[str]:
        """Fields of the spec in which cells may differ."""
        return list(dict.fromkeys([*self.grid, *(name for variant in self.variants for name in variant)]))

    @property
    def succeeded(self) -> bool:
        """True if all jobs of the sweep have succeeded."""
        return self.counts.get("succeeded", 0) == self.total


class SweepPage(Answer):
    """One page of a list of sweeps.

    `next_cursor` is the cursor of the next page; None on the last page.
    """

    items: list[Sweep]
    next_cursor: str | None = None


class SweepPreset(Answer):
    """Ready sweep, in the form in which a client would submit it."""

    name: str
    description: str
    spec: dict[str, Any]
    grid: dict[str, list[Any]]
    variants: tuple[dict[str, Any], ...] = ()
    repeats: int


class SweepPresetList(Answer):
    """All ready sweeps that the service offers."""

    items: list[SweepPreset]
