"""What a worker's write makes of the job's row, before anything is written."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row

from costcurve.core.errors import LaneLost
from costcurve.core.job import Failure, MnistResult, NeuronResult, Request
from costcurve.core.status import JobStatus
from costcurve.core.writes import HandBack, Restart, Write
from costcurve.store.row_mapping import progress_columns, result_columns
from costcurve.store.transitions import CANCELLED_ON_REQUEST, Cause, Move, failed, failure_outcome, left, requeued

# How an attempt ends by what its worker writes; by a failure: transitions.failure_outcome; by a hand-back: its reason.
_SUCCEEDED, _CANCELLED = "succeeded", "cancelled"
_PUT_ASIDE = "put aside, as its client had asked"
_NO_CHECKPOINT = {"checkpoint": None, "checkpoint_step": 0, "checkpoint_epoch": 0}


def columns_of(write: Write) -> dict[str, Any]:
    """How far the job is now, and from where it would go on."""
    if isinstance(write.turn, Restart):
        return {**_NO_CHECKPOINT, "epoch": 0, "step": 0}
    if write.progress is None:
        return {}
    columns = progress_columns(write.progress)
    if write.checkpoint is not None:
        place = {"checkpoint_step": write.progress.step, "checkpoint_epoch": write.progress.epoch}
        # It gets on: what killed its workers before was not this.
        columns |= {"checkpoint": write.checkpoint, **place, "crashes": 0}
    return columns


def outcome_of(write: Write) -> str | None:
    """Return how this write ends the attempt of its claim; None if the attempt continues."""
    match write.turn:
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


def move_of(row: Row[Any], write: Write, now: datetime) -> Move | None:
    """Where the job goes; None if it stays in the worker's hands."""
    claim, columns = write.claim, columns_of(write)

    def cause(why: str) -> Cause:
        return Cause(claim.worker_id, now, why)

    match write.turn:
        case None | Restart():
            return None
        case NeuronResult() | MnistResult() as result:
            columns |= {"status_reason": None, **_NO_CHECKPOINT, **result_columns(result, claim.spec)}
            why = columns["status_reason"] or "training ended"
            return left(row, JobStatus.SUCCEEDED, cause(why), outcome=_SUCCEEDED, **columns)
        case Failure() as failure:
            return failed(row, failure, cause(failure.message), **columns)
        case HandBack(reason):
            return requeued(row, cause(reason), **columns)
        case Request.CANCEL:
            return left(row, JobStatus.CANCELLED, cause(CANCELLED_ON_REQUEST), outcome=_CANCELLED, **columns)
        case Request.PAUSE:
            # Its client may have changed its mind since: then it is cancelled, or goes back into the queue.
            return requeued(row, cause(_PUT_ASIDE), **columns)


def answer_to(write: Write, row: Row[Any] | None, *, is_written: bool) -> Request | LaneLost | None:
    """Return what the worker is told.

    Args:
        write: what it wrote.
        row: the job's row before the write; None if the job no longer runs under this claim.
        is_written: whether an earlier attempt at this write, whose answer was lost, ended the claim.
    """
    if row is None:
        return None if is_written else LaneLost(f"{write.claim.job_id} is no longer this worker's")
    if write.turn is not None:
        return None
    if row.cancel_requested_at is not None:
        return Request.CANCEL
    return Request.PAUSE if row.pause_requested_at is not None else None
