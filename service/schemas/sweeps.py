"""The JSON of sweeps, their cells and their rankings."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.trial_verdict import Verdict
from costcurve.core.placement import PlacedOut
from costcurve.core.status import JobStatus
from costcurve.core.sweep import Sweep
from costcurve.store.pagination import CellPage, SweepPage
from service.schemas.trials import VerdictOut


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class TrialLinkOut(_Out):
    """The job and the finding that a trial tests, and how often its verdict may be looked at."""

    job_id: str
    finding: str | None = Field(description="Code of the finding; null if the client proposed the change.")
    looks: int = Field(description="Most looks at the verdict; seeds may be added in between.")
    look: int = Field(description="Number of the current look, from 1.")


class SweepOut(_Out, PlacedOut):
    """A sweep: its submission, and the number of its jobs in each state."""

    preset: str | None
    spec: dict[str, Any] = Field(
        description="Fields that cells share, as submitted, without those that every cell takes from the grid."
    )
    grid: dict[str, list[Any]]
    variants: list[dict[str, Any]] = Field(description="Fields that override the shared spec, one cell each.")
    repeats: int
    cells: int = Field(description="Number of cells: those of the grid, then the variants.")
    total: int = Field(description="Number of jobs: the newest of each cell and repeat. Deleted jobs are not counted.")
    counts: dict[JobStatus, int] = Field(description="Number of these jobs in each state.")
    is_terminal: bool = Field(description="True if all of these jobs have ended.")
    created_at: datetime
    trial: TrialLinkOut | None = Field(description="Purpose of a trial; null for every other sweep.")

    @classmethod
    def of(cls, sweep: Sweep) -> Self:
        submitted = sweep.submission.model_dump(exclude={"spec"})
        # Earlier versions stored fields that the grid overrides unchecked; some of those cannot be written as JSON.
        overridden = () if sweep.submission.variants else sweep.submission.grid
        shared = {name: value for name, value in sweep.submission.spec.items() if name not in overridden}
        return cls(
            id=sweep.id,
            **submitted,
            spec=shared,
            cells=sweep.submission.cells,
            total=sweep.total,
            counts=dict(sweep.counts),
            is_terminal=sweep.is_terminal,
            created_at=sweep.created_at,
            trial=None if sweep.trial is None else TrialLinkOut.model_validate(sweep.trial),
        )


class SpreadOut(_Out):
    """Spread of a figure over n jobs."""

    n: int
    mean: float
    stdev: float | None = Field(
        description="Sample standard deviation (divisor n − 1); null for one job, or if no float64 can hold it."
    )
    min: float
    max: float


class MeanDifferenceOut(_Out):
    """Mean difference between a cell's scores and the leader's at equal seeds.

    It is over the n seeds that both have.
    """

    to_cell: int = Field(description="Number of the leading cell.")
    n: int
    mean: float
    stdev: float | None = Field(description="Sample standard deviation (divisor n − 1); null for fewer than two seeds.")
    standard_error: float | None = Field(description="Standard error of the mean: stdev / √n.")


class CellJobOut(_Out):
    """One job of a cell: the newest of its repeat."""

    id: str
    repeat: int
    seed: int
    status: JobStatus
    score: float | None = Field(description="The figure by which cells are ranked; null unless the job has succeeded.")


class CellOut(_Out):
    """One cell: its settings, its jobs and their results."""

    cell: int = Field(
        description="Number of the cell, from 0: the grid, whose last field changes fastest, then the variants."
    )
    settings: dict[str, Any] = Field(description="Fields in which the cell overrides the shared spec, as submitted.")
    rank: int | None = Field(
        description="Place among all cells, from 1; null while none of the cell's jobs has succeeded."
    )
    counts: dict[JobStatus, int] = Field(description="Number of the cell's jobs in each state.")
    figures: dict[str, SpreadOut] = Field(description="Figures of the results of the jobs that have succeeded.")
    difference: MeanDifferenceOut | None = Field(
        description="Difference from the leader; null if the two share no seed."
    )
    jobs: list[CellJobOut]


class RankingOut(_Out):
    """The figure by whose mean cells are ranked."""

    figure: str = Field(
        description="`best_accuracy`; for neurons `target_distance`, |final_output − target|, as costs of different "
        "losses cannot be compared."
    )
    better: Literal["higher", "lower"]


class CellList(_Out):
    """One page of cells; `next_cursor` leads to the next page, null at the end."""

    ranking: RankingOut
    items: list[CellOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: CellPage) -> Self:
        return cls.model_validate(page)


class SweepWithLeaders(SweepOut):
    """A sweep and its best cells."""

    verdict: VerdictOut | None = Field(description="Result of a trial; null until it has ended, and if it is no trial.")
    ranking: RankingOut
    leaderboard: list[CellOut] = Field(description="The best cells first; `/cells` lists all of them.")

    @classmethod
    def with_leaders(cls, best: CellPage, verdict: Verdict | None) -> Self:
        ranked = [CellOut.model_validate(cell) for cell in best.items if cell.rank is not None]
        ranking = RankingOut.model_validate(best.ranking)
        judged = None if verdict is None else VerdictOut.of(verdict)
        return cls(**SweepOut.of(best.sweep).model_dump(), verdict=judged, ranking=ranking, leaderboard=ranked)


class SweepList(_Out):
    """One page of sweeps; `next_cursor` leads to the next page, null at the end."""

    items: list[SweepOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: SweepPage) -> Self:
        return cls(items=[SweepOut.of(sweep) for sweep in page.items], next_cursor=page.next_cursor)
