"""Status changes of jobs: the one place that applies and records them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, update

from costcurve.core.errors import WorkerCrashed
from costcurve.core.job import Failure
from costcurve.core.status import JobStatus, ensure_transition
from costcurve.store.schema import attempts, events, jobs

# A job fails after this many worker crashes in a row with this job alone and no new checkpoint.
MAX_CRASHES = 3

CANCELLED_ON_REQUEST = "cancelled on request"
PAUSED_ON_REQUEST = "paused on request"


@dataclass(frozen=True, slots=True)
class EventInfo:
    """The actor, the time and the reason of a job's event."""

    by: str
    at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A planned status change of a job, not yet applied.

    `outcome` says how the job's attempt ended; None if the change ends no attempt.
    """

    row: Row[Any]
    target: JobStatus
    cause: EventInfo
    values: Mapping[str, Any]
    outcome: str | None = None


def plan_transition(row: Row[Any], target: JobStatus, cause: EventInfo, **values: Any) -> StatusChange:
    """Plan a change to another status. Raises InvalidTransition.

    The cause becomes the job's `status_reason` unless `values` has one.
    """
    ensure_transition(JobStatus(row.status), target)
    values = {"status_reason": cause.why, **values, "status": target}
    if target.is_terminal:
        values["finished_at"] = cause.at
    return StatusChange(row, target, cause, values)


def plan_end_of_attempt(
    row: Row[Any], target: JobStatus, cause: EventInfo, *, outcome: str, **values: Any
) -> StatusChange:
    """Plan a status change that ends the running job's attempt."""
    free = {"eta_seconds": None, "attempt_pk": None, "cancel_requested_at": None, "pause_requested_at": None}
    return replace(plan_transition(row, target, cause, **{**values, **free}), outcome=outcome)


def plan_failure(row: Row[Any], failure: Failure, cause: EventInfo, **values: Any) -> StatusChange:
    """Plan the end of a running job as failed."""
    error = {"error_code": failure.code, "error_message": failure.message}
    return plan_end_of_attempt(row, JobStatus.FAILED, cause, outcome=failure_outcome(failure), **values, **error)


def failure_outcome(failure: Failure) -> str:
    """Return the outcome of an attempt that ends by this failure."""
    return f"failed: {failure.code}"


def plan_requeue(row: Row[Any], cause: EventInfo, **values: Any) -> StatusChange:
    """Plan to requeue a running job, or apply its pending request instead."""
    if row.cancel_requested_at is not None:
        # The worker gives up the job: apply the pending cancel here instead of requeueing.
        target, why = JobStatus.CANCELLED, CANCELLED_ON_REQUEST
    elif row.pause_requested_at is not None:
        target, why = JobStatus.PAUSED, PAUSED_ON_REQUEST
    else:
        target, why = JobStatus.QUEUED, cause.why
    if target is not JobStatus.CANCELLED:  # a cancelled job keeps the engine and device of its training
        values = {**values, "engine": None, "device": None, "exec_profile": None}
    return plan_end_of_attempt(row, target, EventInfo(cause.by, cause.at, why), outcome=cause.why, **values)


def plan_crash(held: Sequence[Row[Any]], cause: EventInfo) -> list[StatusChange]:
    """Plan the status changes of all jobs of a crashed worker.

    They are requeued. A job that was alone fails after MAX_CRASHES crashes in a row.
    """
    if len(held) > 1:
        # Any of them may be the cause. From now on each is trained alone, where it can harm no other.
        return [plan_requeue(row, cause, attempt=row.attempt + 1, solo=True) for row in held]
    moves = []
    for row in held:
        crashes = row.crashes + 1
        if crashes < MAX_CRASHES or row.cancel_requested_at is not None:
            moves.append(plan_requeue(row, cause, attempt=row.attempt + 1, crashes=crashes))
        else:
            text = f"{cause.why}; {crashes} workers in a row crashed while they ran this job alone"
            moves.append(plan_failure(row, Failure(WorkerCrashed.code, text), EventInfo(cause.by, cause.at, text)))
    return moves


def apply_status_changes(tx: Connection, changes: Sequence[StatusChange]) -> None:
    """Apply planned status changes: end attempts, update jobs, write events.

    No other function changes the status of a job.
    """
    if endings := [
        {"ended_pk": each.row.attempt_pk, "ended_at": each.cause.at, "outcome": each.outcome}
        for each in changes
        if each.outcome is not None
    ]:
        tx.execute(update(attempts).where(attempts.c.pk == bindparam("ended_pk")), endings)
    change_all(tx, [(each.row.pk, each.values) for each in changes])
    write_events(
        tx,
        [event(each.row.pk, each.cause, source=each.row.status, target=each.target) for each in changes],
    )


def change_status(tx: Connection, row: Row[Any], target: JobStatus, cause: EventInfo, **values: Any) -> None:
    """Change the status of one job and write the event.

    The cause becomes the job's `status_reason` unless `values` has one.
    """
    apply_status_changes(tx, [plan_transition(row, target, cause, **values)])


def request_all(tx: Connection, rows: Sequence[Row[Any]], cause: EventInfo, **values: Any) -> None:
    """Send a request to the workers of running jobs, or withdraw it.

    The status stays until a worker has performed the request.
    """
    change_all(tx, [(row.pk, {"status_reason": cause.why, **values}) for row in rows])
    write_events(tx, [event(row.pk, cause, source=row.status, target=row.status) for row in rows])


def cancel_all(tx: Connection, rows: Sequence[Row[Any]], cause: EventInfo) -> None:
    """Cancel queued and paused jobs; request cancellation of running ones.

    A request that was made before is not repeated.

    Raises:
        InvalidTransition: one of the jobs has ended.
    """
    apply_status_changes(
        tx, [plan_transition(row, JobStatus.CANCELLED, cause) for row in rows if row.status != JobStatus.RUNNING]
    )
    unasked = [row for row in rows if row.status == JobStatus.RUNNING and row.cancel_requested_at is None]
    asked = {"cancel_requested_at": cause.at, "pause_requested_at": None}
    request_all(tx, unasked, EventInfo(cause.by, cause.at, "cancel requested"), **asked)


def change(tx: Connection, row: Row[Any], **values: Any) -> None:
    """Change a job's columns and increment its version."""
    change_all(tx, [(row.pk, values)])


def change_all(tx: Connection, changes: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Change jobs' columns and increment their versions.

    Each job is given by its pk. Jobs whose same columns change share one statement.
    """
    alike: dict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for pk, values in changes:
        alike[frozenset(values)].append({"changed_pk": pk, **values})
    statement = update(jobs).where(jobs.c.pk == bindparam("changed_pk")).values(version=jobs.c.version + 1)
    for rows in alike.values():
        tx.execute(statement, rows)


def event(job_pk: int, cause: EventInfo, *, source: str | None, target: str) -> dict[str, Any]:
    """Return the columns of a job event's row."""
    happened = {"at": cause.at, "by": cause.by, "why": cause.why}
    return {"job_pk": job_pk, "from_status": source, "to_status": target, **happened}


def write_events(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert events of jobs, in this order."""
    if rows:
        tx.execute(insert(events), rows)
