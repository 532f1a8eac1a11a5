"""What happens to a job, inside a transaction: the one place where a status changes, and where that is written down."""

from collections.abc import Iterable, Sequence
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
    change_all(tx, [row], **values)


def change_all(tx: Connection, rows: Sequence[Row[Any]], **values: Any) -> None:
    """Change jobs, all in the same way."""
    pks = [row.pk for row in rows]
    tx.execute(update(jobs).where(jobs.c.pk.in_(pks)).values(version=jobs.c.version + 1, **values))


def write_event(tx: Connection, job_pk: int, cause: Cause, *, source: str | None, target: str) -> None:
    """Write down what happened to the job."""
    write_events(tx, [(job_pk, source)], cause, target=target)


def write_events(tx: Connection, sources: Iterable[tuple[int, str | None]], cause: Cause, *, target: str) -> None:
    """Write down what happened to jobs, each told by its pk and by the status it was in."""
    told = {"at": cause.at, "by": cause.by, "to_status": target, "why": cause.why}
    if rows := [{"job_pk": job_pk, "from_status": source, **told} for job_pk, source in sources]:
        tx.execute(insert(events), rows)


def move(tx: Connection, row: Row[Any], target: JobStatus, cause: Cause, **values: Any) -> None:
    """Change the status of one job."""
    move_all(tx, [row], target, cause, **values)


def move_all(tx: Connection, rows: Sequence[Row[Any]], target: JobStatus, cause: Cause, **values: Any) -> None:
    """The one place where a job's status changes; the cause becomes its `status_reason` unless another is given."""
    for status in {row.status for row in rows}:
        ensure_transition(JobStatus(status), target)
    values = {"status_reason": cause.why, **values}
    if target.is_terminal:
        values["finished_at"] = cause.at
    change_all(tx, rows, status=target, **values)
    write_events(tx, [(row.pk, row.status) for row in rows], cause, target=target)


def request_all(tx: Connection, rows: Sequence[Row[Any]], cause: Cause, **values: Any) -> None:
    """Ask the workers of running jobs for something, or no longer; the status stays until they have done it."""
    change_all(tx, rows, **{"status_reason": cause.why, **values})
    write_events(tx, [(row.pk, row.status) for row in rows], cause, target=JobStatus.RUNNING)


def cancel_all(tx: Connection, rows: Sequence[Row[Any]], cause: Cause) -> None:
    """Cancel waiting jobs at once, and ask the workers of running ones to, unless they have been asked before.

    Raises:
        InvalidTransition: one of the jobs has ended.
    """
    running = [row for row in rows if row.status == JobStatus.RUNNING]
    if waiting := [row for row in rows if row.status != JobStatus.RUNNING]:
        move_all(tx, waiting, JobStatus.CANCELLED, cause)
    if unasked := [row for row in running if row.cancel_requested_at is None]:
        asked = {"cancel_requested_at": cause.at, "pause_requested_at": None}
        request_all(tx, unasked, Cause(cause.by, cause.at, "cancel requested"), **asked)


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
