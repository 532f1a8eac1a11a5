"""The JSON of jobs, events, workers, presets, health and version."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.forecast import forecast, warnings
from costcurve.core.estimate import estimate
from costcurve.core.job import Event, ExecProfile, Job, Result, WorkerInfo
from costcurve.core.placement import PlacedOut
from costcurve.core.presets import Preset, SweepPreset
from costcurve.core.spec import Spec, spec_hash
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store.pagination import Page
from service.schemas.forecast import ForecastOut


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ProgressOut(_Out):
    """Progress of training: finished epochs and steps, their totals, and seconds left."""

    epoch: int
    epochs: int
    step: int
    steps: int
    fraction: float
    eta_seconds: float | None


class ErrorOut(_Out):
    """Reason why the job failed."""

    code: str
    message: str


class JobOut(_Out, PlacedOut):
    """One job in its current state."""

    status: JobStatus
    is_terminal: bool
    status_reason: str | None
    spec: Spec
    spec_hash: str
    pinned: bool
    exec_profile: ExecProfile | None = Field(
        description="Engine, device, instruction set, threads and versions of the training, while it runs and after it "
        "has ended. Equal profiles give equal bits."
    )
    attempt: int
    progress: ProgressOut
    queue_position: int | None = Field(
        description="Place in the queue, from 1; null unless the job is queued, and also just after it was queued."
    )
    result: Result | None
    error: ErrorOut | None
    parent_id: str | None = Field(description="The job that this job clones, forks or retries.")
    sweep_id: str | None = Field(description="The sweep that queued the job.")
    cell: int | None = Field(
        description="Number of the cell in the sweep's grid, from 0; the last field changes fastest."
    )
    repeat: int | None = Field(description="Number of the repeat in that cell, from 0.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    version: int


class WarningOut(_Out):
    """A valid setting with which the job is expected to learn slowly, or not at all."""

    code: str = Field(description="The code of the finding that the diagnosis of the training would have.")
    message: str
    pointer: str = Field(description="JSON pointer of the field in the submission.")


def warnings_of(spec: Spec) -> list[WarningOut]:
    """Return the warnings about a spec."""
    return [WarningOut.model_validate(warning) for warning in warnings(spec)]


class SubmittedJobOut(JobOut):
    """A job that was submitted, with warnings about its spec."""

    warnings: list[WarningOut]

    @classmethod
    def of(cls, job: Job) -> Self:
        fields = {name: getattr(job, name) for name in JobOut.model_fields}
        return cls.model_validate({**fields, "warnings": warnings_of(job.spec)}, from_attributes=True)


class JobList(_Out):
    """One page of jobs; `next_cursor` leads to the next page, null at the end."""

    items: list[JobOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page) -> Self:
        return cls.model_validate(page)


class EventOut(_Out):
    """One event of a job.

    A request that its worker has not yet performed leaves the status unchanged.
    """

    id: int
    at: datetime
    by: str = Field(description="Who caused the event: `client`, `supervisor` or a worker's id, for instance.")
    from_status: JobStatus | None = Field(description="Null for the submission.")
    to_status: JobStatus
    why: str


class EventList(_Out):
    """All events of a job, the oldest first."""

    items: list[EventOut]

    @classmethod
    def of(cls, events: Sequence[Event]) -> Self:
        return cls(items=[EventOut.model_validate(event) for event in events])


class WorkerOut(_Out):
    """One live worker: one start of a process, not a machine."""

    id: str
    host: str | None = Field(description="Null unless the key has the scope `admin`, or keys are off.")
    pid: int | None = Field(description="Null unless the key has the scope `admin`, or keys are off.")
    device: str
    engines: list[str]
    started_at: datetime
    heartbeat_at: datetime | None
    lease_expires_at: datetime | None = Field(
        description="After this time the worker's jobs may be given to other workers."
    )
    job_ids: list[str] = Field(
        description="The running jobs that the worker holds; without the scope `admin`, those of the caller's project."
    )


class WorkerList(_Out):
    """All live workers."""

    items: list[WorkerOut]

    @classmethod
    def of(cls, workers: Sequence[WorkerInfo]) -> Self:
        return cls(items=[WorkerOut.model_validate(worker) for worker in workers])


class ValidationOut(_Out):
    """Preview of a submission: its resolved spec, cost on one CPU core, forecast and warnings."""

    spec: Spec
    spec_hash: str
    total_steps: int
    estimated_seconds: float
    estimated_memory_bytes: int
    forecast: ForecastOut
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
            forecast=ForecastOut.of(forecast(submission.spec)),
            warnings=warnings_of(submission.spec),
        )


class PresetOut(_Out):
    """A ready-made spec with all defaults filled in."""

    name: str
    description: str
    spec: Spec


class PresetList(_Out):
    """All presets, the article's own first."""

    items: list[PresetOut]

    @classmethod
    def of(cls, presets: list[Preset]) -> Self:
        return cls(items=[PresetOut.model_validate(preset) for preset in presets])


class SweepPresetOut(_Out):
    """A ready-made sweep, in the form of a submission."""

    name: str
    description: str
    spec: dict[str, Any]
    grid: dict[str, list[Any]]
    variants: list[dict[str, Any]]
    repeats: int


class SweepPresetList(_Out):
    """All ready-made sweeps."""

    items: list[SweepPresetOut]

    @classmethod
    def of(cls, presets: list[SweepPreset]) -> Self:
        return cls(items=[SweepPresetOut.model_validate(preset) for preset in presets])


class Health(_Out):
    """Status of a service that responds."""

    status: Literal["ok", "ready"]


class VersionOut(_Out):
    """Versions of CostCurve and of its API."""

    version: str
    api: Literal["v1"]
