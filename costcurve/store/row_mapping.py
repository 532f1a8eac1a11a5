"""Mapping between database rows and the objects of the domain."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Row, select

from costcurve.core.job import Claim, Event, ExecProfile, Failure, Job, MnistResult, NeuronResult, Progress, Result
from costcurve.core.placement import STORED_BY_NAME
from costcurve.core.spec import AnySpec, MnistSpec, restored
from costcurve.core.status import JobStatus
from costcurve.core.sweep import Sweep, SweepSubmission, TrialLink
from costcurve.store.schema import sweeps, trials

_result: TypeAdapter[NeuronResult | MnistResult] = TypeAdapter(Result)

# The rows of sweeps, with what makes some of them trials.
sweep_rows = select(
    sweeps, trials.c.job_id.label("trial_job_id"), trials.c.finding, trials.c.looks, trials.c.look
).outerjoin(trials, trials.c.sweep_id == sweeps.c.id)


def spec_of(row: Row[Any]) -> AnySpec:
    """Return the resolved spec of a job's row."""
    return restored(row.spec)


def job_of(row: Row[Any], tags: Mapping[str, str]) -> Job:
    """Return the job of a row, with these tags."""
    spec = spec_of(row)
    return Job(
        id=row.id,
        status=JobStatus(row.status),
        status_reason=row.status_reason,
        spec=spec,
        spec_hash=row.spec_hash,
        **{name: getattr(row, name) for name in STORED_BY_NAME},
        tags=dict(tags),
        engine=row.engine or row.requested_engine,
        device=row.device or row.requested_device,
        attempt=row.attempt,
        parent_id=row.parent_id,
        pinned=row.pinned,
        progress=Progress(
            epoch=row.epoch,
            epochs=spec.epochs,
            step=row.step,
            steps=spec.total_steps,
            eta_seconds=row.eta_seconds,
            succeeded=row.status == JobStatus.SUCCEEDED,
        ),
        result=_result.validate_python(row.result) if row.result is not None else None,
        error=Failure(row.error_code, row.error_message) if row.error_code is not None else None,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        version=row.version,
        exec_profile=profile_of(row),
        sweep_id=row.sweep_id,
        cell=row.cell,
        repeat=row.repeat,
    )


def with_queue_position(job: Job, position: int, why: str) -> Job:
    """Return a queued job with its queue position and waiting reason.

    An existing `status_reason` stays in front of the waiting reason.
    """
    reason = why if job.status_reason is None else f"{job.status_reason}; {why}"
    return replace(job, queue_position=position, status_reason=reason)


def event_of(row: Row[Any]) -> Event:
    """Return the job event of a database row."""
    source = None if row.from_status is None else JobStatus(row.from_status)
    return Event(row.pk, row.at, row.by, source, JobStatus(row.to_status), row.why)


def profile_of(row: Row[Any]) -> ExecProfile | None:
    """Return the profile with which the job of this row is trained.

    None if the row has none.
    """
    return ExecProfile.model_validate(row.exec_profile) if row.exec_profile is not None else None


def claim_of(
    row: Row[Any],
    spec: AnySpec,
    *,
    attempt_pk: int,
    worker_id: str,
    engine: str,
    device: str,
    profile: ExecProfile | None,
    waited_seconds: float | None,
) -> Claim:
    """Return a worker's claim on the job of this row."""
    return Claim(
        job_id=row.id,
        job_pk=row.pk,
        attempt_pk=attempt_pk,
        attempt=row.attempt,
        worker_id=worker_id,
        spec=spec,
        spec_hash=row.spec_hash,
        engine=engine,
        device=device,
        max_runtime_seconds=row.max_runtime_seconds,
        checkpoint=row.checkpoint,
        profile=profile,
        sweep_id=row.sweep_id,
        waited_seconds=waited_seconds,
    )


def progress_columns(progress: Progress) -> dict[str, Any]:
    """Return the columns that hold the progress of training."""
    return {"epoch": progress.epoch, "step": progress.step, "eta_seconds": progress.eta_seconds}


def result_columns(result: NeuronResult | MnistResult, spec: AnySpec) -> dict[str, Any]:
    """Return the columns that hold the result and final progress."""
    columns: dict[str, Any] = {"result": result.model_dump(mode="json")}
    if isinstance(result, MnistResult) and isinstance(spec, MnistSpec):
        columns["best_accuracy"] = result.best_accuracy
        columns["epoch"] = result.epochs_trained
        columns["step"] = result.epochs_trained * spec.steps_per_epoch
        if spec.early_stopping is not None and result.epochs_trained < spec.epochs:
            stopping = spec.early_stopping
            columns["status_reason"] = (
                f"stopped early: {stopping.metric} had not improved for {stopping.patience} epochs"
            )
    else:
        columns |= {"epoch": spec.epochs, "step": spec.total_steps}
    return columns


def sweep_of(row: Row[Any], counts: Mapping[str, int]) -> Sweep:
    """Return the sweep of one of `sweep_rows`, with these numbers of jobs by status."""
    every = {status: counts.get(status, 0) for status in JobStatus}
    link = None if row.trial_job_id is None else TrialLink(row.trial_job_id, row.finding, row.looks, row.look)
    return Sweep(row.id, sweep_submission_of(row), counts=every, created_at=row.created_at, trial=link)


def sweep_submission_of(row: Row[Any]) -> SweepSubmission:
    """Return the submission of a sweep's row.

    It was validated when it was submitted: today's limits do not apply.
    """
    return SweepSubmission.model_construct(**row.submission)
