"""A worker's update of its job: what it reports, how that changes the job's row, and the rows that it adds."""

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
    """The checkpoint cannot be used: the job, still the worker's own, begins anew."""

    why: str


@dataclass(frozen=True, slots=True)
class HandBack:
    """The job goes back into the queue, at no cost to it."""

    reason: str


# A result: the training ended. A failure: it cannot go on. A request: it has been performed.
JobOutcome = NeuronResult | MnistResult | Failure | HandBack | Request | Restart


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """With its claim as the fence: all of it is written, or nothing.

    `progress` is None where there is none to tell, `curve` and `steps` have the points since the last write, one for
    each epoch and one for each STEPS_A_POINT steps, `checkpoint` names the file that holds exactly this state, if one
    was written, and `outcome` what happens to the job now, if anything. `start`, once, has the figures of its network
    before the first update; `model` is what to keep of a network whose training ended.
    """

    claim: Claim
    progress: Progress | None = None
    curve: Curve = field(default_factory=Curve)
    checkpoint: str | None = None
    outcome: JobOutcome | None = None
    steps: Curve = field(default_factory=Curve)
    start: Mapping[str, float] | None = None
    model: TrainedModel | None = None


# How an attempt ends by what its worker writes; by a failure: transitions.failure_outcome; by a hand-back: its reason.
_SUCCEEDED, _CANCELLED = "succeeded", "cancelled"
_PUT_ASIDE = "put aside, as its client had asked"
_NO_CHECKPOINT = {"checkpoint": None, "checkpoint_step": 0, "checkpoint_epoch": 0}


def progress_values(write: JobUpdate) -> dict[str, Any]:
    """How far the job is now, and from where it would go on."""
    if isinstance(write.outcome, Restart):
        return {**_NO_CHECKPOINT, "epoch": 0, "step": 0}
    if write.progress is None:
        return {}
    columns = progress_columns(write.progress)
    if write.checkpoint is not None:
        place = {"checkpoint_step": write.progress.step, "checkpoint_epoch": write.progress.epoch}
        # It gets on: what killed its workers before was not this.
        columns |= {"checkpoint": write.checkpoint, **place, "crashes": 0}
    return columns


def attempt_outcome(write: JobUpdate) -> str | None:
    """Return how this write ends the attempt of its claim; None if the attempt continues."""
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
            return _PUT_ASIDE


def plan_status_change(row: Row[Any], write: JobUpdate, now: datetime) -> StatusChange | None:
    """Where the job goes; None if it stays in the worker's hands."""
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
            # Its client may have changed its mind since: then it is cancelled, or goes back into the queue.
            return plan_requeue(row, cause(_PUT_ASIDE), **columns)


def reply_to(write: JobUpdate, row: Row[Any] | None, *, is_written: bool) -> Request | ClaimLost | None:
    """Return what the worker is told.

    Args:
        write: what it wrote.
        row: the job's row before the write; None if the job no longer runs under this claim.
        is_written: whether an earlier attempt at this write, whose answer was lost, ended the claim.
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
    """The rows that one write adds, encoded; None where it has nothing of that kind."""

    runs: Mapping[Granularity, _Columns | None]
    start: _Columns | None
    model: _Columns | None

    @classmethod
    def of(cls, write: JobUpdate) -> Self:
        """What this write adds."""
        job_pk = write.claim.job_pk
        return cls(
            runs={"epoch": chunk_of(job_pk, write.curve), "step": chunk_of(job_pk, write.steps)},
            start=None if write.start is None else start_columns(job_pk, write.start),
            model=None if write.model is None else row_of(job_pk, write.model),
        )


def write_encoded(tx: Connection, kept: Sequence[EncodedUpdate]) -> None:
    """Add the rows of some writes, of each kind with one statement or two; with none where there are none."""
    for granularity in CHUNK_TABLES:
        runs = (each.runs[granularity] for each in kept)
        write_chunks(tx, granularity, [run for run in runs if run is not None])
    write_starts(tx, [each.start for each in kept if each.start is not None])
    write_models(tx, [each.model for each in kept if each.model is not None])
