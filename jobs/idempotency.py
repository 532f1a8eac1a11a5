"""Idempotency keys: a submission that a client repeats, not knowing whether the first arrived, makes no second job."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from jobs.errors import IdempotencyKeyReused
from jobs.job import Job, Progress
from jobs.lifecycle import JobStatus
from jobs.submission import Submission
from jobs.tables import idempotency_keys


def job_pk_of(tx: Connection, key: str, submission: Submission, parent_id: str | None) -> int | None:
    """The job that was made with this key; None if the key is new.

    Args:
        tx: the transaction.
        key: what the client calls its submission.
        submission: what it has sent.
        parent_id: the job of which it wants a clone, if it does.

    Raises:
        IdempotencyKeyReused: it was made by another submission.
    """
    found = tx.execute(select(idempotency_keys).where(idempotency_keys.c.key == key)).one_or_none()
    if found is None:
        return None
    if found.submission != _content(submission, parent_id):
        raise IdempotencyKeyReused("this idempotency key came with another submission; take a new key for a new job")
    job_pk: int = found.job_pk
    return job_pk


def remember(
    tx: Connection, key: str, submission: Submission, parent_id: str | None, *, job_pk: int, now: datetime
) -> None:
    """Bind the key to the job, in the transaction that makes it."""
    content = _content(submission, parent_id)
    tx.execute(insert(idempotency_keys).values(key=key, submission=content, job_pk=job_pk, created_at=now))


def as_submitted(job: Job, submission: Submission) -> Job:
    """The job as the first answer showed it, whatever has become of it since."""
    return replace(
        job,
        status=JobStatus.QUEUED,
        status_reason=None,
        name=submission.name,
        tags=submission.tags,
        priority=submission.priority,
        engine=submission.engine,
        device=submission.device,
        attempt=1,
        pinned=False,
        progress=Progress(epoch=0, epochs=job.progress.epochs, step=0, steps=job.progress.steps, eta_seconds=None),
        result=None,
        error=None,
        started_at=None,
        finished_at=None,
        version=1,
    )


def _content(submission: Submission, parent_id: str | None) -> dict[str, Any]:
    # Resolved: the same job said in another way, by a preset for instance, is the same submission.
    content = submission.model_dump(mode="json", exclude={"preset"})
    return content if parent_id is None else {**content, "parent_id": parent_id}
