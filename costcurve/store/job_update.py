"""A worker's update of its job: report, status change and added rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Connection, Row

from costcurve.core.curve import Curve, Granularity
from costcurve.core.errors import ClaimLost
from costcurve.core.job import Claim, Failure, MnistResult, NeuronResult, Progress, Request
from costcurve.core.model_file import TrainedModel
from costcurve.core.status import JobStatus
from costcurve.store.curve_chunks import CHUNK_TABLES, chunk_of, start_columns, write_chunks, write_starts
from costcurve.store.models import row_of, write_models
from costcurve.store.row_mapping import progress_columns, result_columns
from costcurve.store.transitions import (
    CANCELLED_ON_REQUEST,
    EventInfo,
    StatusChange,
    failure_outcome,
    plan_end_of_attempt,
    plan_failure,
    plan_requeue,
)


@dataclass(frozen=True, slots=True)
class Restart:
    """Outcome: the checkpoint is unusable and the job restarts from step 0.

    The job keeps running under the worker's claim.
    """

    why: str


@dataclass(frozen=True, slots=True)
class HandBack:
    """Outcome: the job is requeued, and this does not count against it."""

    reason: str


# A result: the training ended. A failure: it cannot continue. A request: it has been performed.
JobOutcome = NeuronResult | MnistResult | Failure | HandBack | Request | Restart


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """One update of one job, fenced by its claim: all or nothing.

    `progress` is None if there is none to report. `curve` and `steps` have the points since the last update, one for
    each epoch and one for each STEPS_A_POINT steps. `checkpoint` names the file that holds exactly this state, if one
    was written. `outcome` says what happens to the job now; None if it continues. `start` is sent once and has the
    figures of the network before the first update. `model` is the network to store when its training ended.
    """

    claim: Claim
    progress: Progress | None = None
    curve: Curve = field(default_factory=Curve)
    checkpoint: str | None = None
    outcome: JobOutcome | None = None
    steps: Curve = field(default_factory=Curve)
    start: Mapping[str, float] | None = None
    model: TrainedModel | None = None


# Outcomes of attempts. Of a failure it is transitions.failure_outcome, of a hand-back its reason.
_SUCCEEDED, _CANCELLED = "succeeded", "cancelled"
_PAUSED = "paused at its client's request"
_NO_CHECKPOINT = {"checkpoint": None, "checkpoint_step": 0, "checkpoint_epoch": 0}


def progress_values(write: JobUpdate) -> dict[str, Any]:
    """Return the columns for the job's progress and its checkpoint."""
    if isinstance(write.outcome, Restart):
        return {**_NO_CHECKPOINT, "epoch": 0, "step": 0}
    if write.progress is None:
        return {}
    columns = progress_columns(write.progress)
    if write.checkpoint is not None:
        place = {"checkpoint_step": write.progress.step, "checkpoint_epoch": write.progress.epoch}
        # The job progresses: it did not cause the earlier crashes.
        columns |= {"checkpoint": write.checkpoint, **place, "crashes": 0}
    return columns


def attempt_outcome(write: JobUpdate) -> str | None:
    """Return the outcome of the claim's attempt; None if it continues."""
    match write.outcome:
        case None | Restart():
            return None
        case NeuronResult() | MnistResult():
            return _SUCCEEDED
        case Failure() as failure:
            return failure_outcome(failure)
        case HandBack(reason):
            return reason
        case Request.CANCEL:
            return _CANCELLED
        case Request.PAUSE:
            return _PAUSED


def plan_status_change(row: Row[Any], write: JobUpdate, now: datetime) -> StatusChange | None:
    """Plan the job's status change; return None if the worker keeps it."""
    claim, columns = write.claim, progress_values(write)

    def cause(why: str) -> EventInfo:
        return EventInfo(claim.worker_id, now, why)

    match write.outcome:
        case None | Restart():
            return None
        case NeuronResult() | MnistResult() as result:
            columns |= {"status_reason": None, **_NO_CHECKPOINT, **result_columns(result, claim.spec)}
            why = columns["status_reason"] or "training ended"
            return plan_end_of_attempt(row, JobStatus.SUCCEEDED, cause(why), outcome=_SUCCEEDED, **columns)
        case Failure() as failure:
            return plan_failure(row, failure, cause(failure.message), **columns)
        case HandBack(reason):
            return plan_requeue(row, cause(reason), **columns)
        case Request.CANCEL:
            return plan_end_of_attempt(
                row, JobStatus.CANCELLED, cause(CANCELLED_ON_REQUEST), outcome=_CANCELLED, **columns
            )
        case Request.PAUSE:
            # The client may have cancelled or resumed it since: then it is cancelled or requeued.
            return plan_requeue(row, cause(_PAUSED), **columns)


def reply_to(write: JobUpdate, row: Row[Any] | None, *, is_written: bool) -> Request | ClaimLost | None:
    """Return the reply to a worker's update of its job.

    Args:
        write: the worker's update.
        row: the job's row before the update; None if the job no longer runs under this claim.
        is_written: True if the same update was committed before, ended the claim, and its response was lost.
    """
    if row is None:
        return None if is_written else ClaimLost(f"{write.claim.job_id} is no longer this worker's")
    if write.outcome is not None:
        return None
    if row.cancel_requested_at is not None:
        return Request.CANCEL
    return Request.PAUSE if row.pause_requested_at is not None else None


_Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodedUpdate:
    """The encoded rows that one update adds; None for absent kinds."""

    chunks: Mapping[Granularity, _Columns | None]
    start: _Columns | None
    model: _Columns | None

    @classmethod
    def of(cls, write: JobUpdate) -> Self:
        """Encode the rows that this update adds."""
        job_pk = write.claim.job_pk
        return cls(
            chunks={"epoch": chunk_of(job_pk, write.curve), "step": chunk_of(job_pk, write.steps)},
            start=None if write.start is None else start_columns(job_pk, write.start),
            model=None if write.model is None else row_of(job_pk, write.model),
        )


def write_encoded(tx: Connection, kept: Sequence[EncodedUpdate]) -> None:
    """Write the encoded rows of several updates, with few statements.

    Each kind takes one or two statements, or none if it has no rows.
    """
    for granularity in CHUNK_TABLES:
        chunks = (each.chunks[granularity] for each in kept)
        write_chunks(tx, granularity, [chunk for chunk in chunks if chunk is not None])
    write_starts(tx, [each.start for each in kept if each.start is not None])
    write_models(tx, [each.model for each in kept if each.model is not None])
