"""The JSON of every answer."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from jobs.curve_runs import CurvePage
from jobs.estimate import estimate, warnings
from jobs.job import Result
from jobs.lifecycle import JobStatus
from jobs.listing import Page
from jobs.presets import Preset
from jobs.spec import Spec, spec_hash
from jobs.submission import Submission


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ProgressOut(_Out):
    """How far training is: finished epochs and steps of how many, and the seconds still to go."""

    epoch: int
    epochs: int
    step: int
    steps: int
    fraction: float
    eta_seconds: float | None


class ErrorOut(_Out):
    """Why the job failed."""

    code: str
    message: str


class JobOut(_Out):
    """One job, as it stands."""

    id: str
    status: JobStatus
    is_terminal: bool
    status_reason: str | None
    spec: Spec
    spec_hash: str
    name: str | None
    tags: dict[str, str]
    priority: int
    engine: str
    device: str
    max_runtime_seconds: float | None
    attempt: int
    progress: ProgressOut
    result: Result | None
    error: ErrorOut | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    version: int


class JobList(_Out):
    """One page of jobs; `next_cursor` leads to the next, null at the end."""

    items: list[JobOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page) -> Self:
        return cls.model_validate(page)


class WarningOut(_Out):
    """Something legal that is rarely meant."""

    code: str
    message: str


class ValidationOut(_Out):
    """What a submission would come to: the resolved spec, its cost on one CPU core, and warnings."""

    spec: Spec
    spec_hash: str
    total_steps: int
    estimated_seconds: float
    estimated_memory_bytes: int
    warnings: list[WarningOut]

    @classmethod
    def of(cls, submission: Submission) -> Self:
        expected = estimate(submission.spec)
        return cls(
            spec=submission.spec,
            spec_hash=spec_hash(submission.spec),
            total_steps=expected.total_steps,
            estimated_seconds=round(expected.seconds, 3),
            estimated_memory_bytes=expected.memory_bytes,
            warnings=[WarningOut.model_validate(warning) for warning in warnings(submission.spec)],
        )


class CurveOut(_Out):
    """A stretch of a curve, as columns. Ask for `from={next_from}` next time to get only what is new."""

    job_id: str
    granularity: Literal["epoch"]
    x: list[int]
    series: dict[str, list[float]]
    total_points: int
    sampled: bool
    next_from: int

    @classmethod
    def of(cls, job_id: str, page: CurvePage) -> Self:
        return cls(
            job_id=job_id,
            granularity="epoch",
            x=list(range(page.curve.start, page.curve.end)),
            series=page.curve.series,
            total_points=page.total_points,
            sampled=False,
            next_from=page.next_from,
        )


class PresetOut(_Out):
    """A ready spec, with every default filled in."""

    name: str
    description: str
    spec: Spec


class PresetList(_Out):
    """All presets, the article's own first."""

    items: list[PresetOut]

    @classmethod
    def of(cls, presets: list[Preset]) -> Self:
        return cls(items=[PresetOut.model_validate(preset) for preset in presets])


class Health(_Out):
    """The service answers."""

    status: Literal["ok", "ready"]


class VersionOut(_Out):
    """Which CostCurve this is."""

    version: str
    api: Literal["v1"]
