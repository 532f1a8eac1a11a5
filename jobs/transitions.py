"""What happens to a job, inside a transaction: the one place where a status changes, and where that is written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, update

from jobs.errors import WorkerCrashed
from jobs.job import Failure
from jobs.lifecycle import JobStatus, ensure_transition
from jobs.tables import attempts, events, jobs

# A job under which its worker died this many times in a row, alone and without getting on, is at fault itself.
MAX_CRASHES = 3

CANCELLED_ON_REQUEST = "cancelled on request"
PAUSED_ON_REQUEST = "paused on request"


@dataclass(frozen=True, slots=True)
class Cause:
    """Who does something to a job, when, and why in words."""

    by: str
    at: datetime
    why: str


def change(tx: Connection, row: Row[Any], **values: Any) -> None:
    """Change a job; everybody who looks sees by its version that it changed."""
    tx.execute(update(jobs).where(jobs.c.pk == row.pk).values(version=jobs.c.version + 1, **values))


def write_event(tx: Connection, job_pk: int, cause: Cause, *, source: str | None, target: str) -> None:
    """Write down what happened to the job."""
    tx.execute(
        insert(events).values(
            job_pk=job_pk, at=cause.at, by=cause.by, from_status=source, to_status=target, why=cause.why
        )
    )


def move(tx: Connection, row: Row[Any], target: JobStatus, cause: Cause, **values: Any) -> None:
    """The one place where a job's status changes; the cause becomes its `status_reason` unless another is given."""
    ensure_transition(JobStatus(row.status), target)
    values = {"status_reason": cause.why, **values}
    if target.is_terminal:
        values["finished_at"] = cause.at
    change(tx, row, status=target, **values)
    write_event(tx, row.pk, cause, source=row.status, target=target)


def leave(tx: Connection, row: Row[Any], target: JobStatus, cause: Cause, *, outcome: str, **values: Any) -> None:
    """End the attempt under which the job is running."""
    tx.execute(update(attempts).where(attempts.c.pk == row.attempt_pk).values(ended_at=cause.at, outcome=outcome))
    values = {
        "eta_seconds": None,
        "attempt_pk": None,
        "cancel_requested_at": None,
        "pause_requested_at": None,
        **values,
    }
    move(tx, row, target, cause, **values)


def fail(tx: Connection, row: Row[Any], failure: Failure, cause: Cause) -> None:
    """End a running job as failed."""
    error = {"error_code": failure.code, "error_message": failure.message}
    leave(tx, row, JobStatus.FAILED, cause, outcome=f"failed: {failure.code}", **error)


def requeue(tx: Connection, row: Row[Any], cause: Cause, **values: Any) -> None:
    """Take a running job from its worker; what its client has asked for meanwhile is done now."""
    if row.cancel_requested_at is not None:
        # Nobody is left to perform the request, and nobody should train what nobody wants.
        target, why = JobStatus.CANCELLED, CANCELLED_ON_REQUEST
    elif row.pause_requested_at is not None:
        target, why = JobStatus.PAUSED, PAUSED_ON_REQUEST
    else:
        target, why = JobStatus.QUEUED, cause.why
    if target is not JobStatus.CANCELLED:  # which keeps what it was trained on, and how far
        values = {**values, "engine": None, "device": None}
    leave(tx, row, target, Cause(cause.by, cause.at, why), outcome=cause.why, **values)


def crash(tx: Connection, held: Sequence[Row[Any]], cause: Cause) -> None:
    """Take all jobs from a worker that died; one that keeps killing its workers, alone, fails."""
    if len(held) > 1:
        # Any of them may have done it. From now on each is trained alone, where it can harm no other.
        for row in held:
            requeue(tx, row, cause, attempt=row.attempt + 1, solo=True)
        return
    for row in held:
        crashes = row.crashes + 1
        if crashes < MAX_CRASHES or row.cancel_requested_at is not None:
            requeue(tx, row, cause, attempt=row.attempt + 1, crashes=crashes)
        else:
            text = f"{cause.why}; {crashes} workers in a row died so, with this job alone"
            fail(tx, row, Failure(WorkerCrashed.code, text), Cause(cause.by, cause.at, text))
