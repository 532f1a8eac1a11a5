"""Idempotency keys: a repeated submission makes no second job.

A client repeats a submission when it does not know if the first arrived.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from costcurve.core.errors import IdempotencyKeyReused
from costcurve.core.job import Job, Progress
from costcurve.core.status import JobStatus
from costcurve.core.submission import Clone, Fork, Submission
from costcurve.store.row_mapping import job_of
from costcurve.store.schema import idempotency_keys, jobs

Sent = Mapping[str, Any]


def sent_as_job(submission: Submission) -> Sent:
    """Return the content of a submission, to compare with later ones.

    The same job described in another way, for instance by a preset, has the same content.
    """
    return submission.model_dump(mode="json", exclude={"preset"})


def sent_as_clone(job_id: str, overrides: Clone) -> Sent:
    """Return the content of a clone request, to compare with later ones.

    The resulting submission is not compared: it may change with the job before the request is repeated.
    """
    return {"of": job_id, **{name: getattr(overrides, name) for name in overrides.model_fields_set}}


def sent_as_fork(job_id: str, fork: Fork) -> Sent:
    """Return the content of a fork request, to compare with later ones."""
    return {"fork_of": job_id, **fork.model_dump(mode="json", exclude_unset=True)}


def first_answer(tx: Connection, project_pk: int, key: str, sent: Sent) -> Job | None:
    """Return the project's job that was made with this key; None if it is new.

    The job is returned as the first response showed it.

    Raises:
        IdempotencyKeyReused: the key came with another submission.
    """
    # One statement: between two, the job could be deleted, and the key with it.
    made = select(jobs, idempotency_keys.c.submission).join(jobs, jobs.c.pk == idempotency_keys.c.job_pk)
    found = tx.execute(
        made.where(idempotency_keys.c.project_pk == project_pk, idempotency_keys.c.key == key)
    ).one_or_none()
    if found is None:
        return None
    if found.submission.get("clone", found.submission) != sent:
        raise IdempotencyKeyReused("this idempotency key belongs to another submission; use a new key for a new job")
    return _as_submitted(job_of(found, {}), found.submission)


def remember(
    tx: Connection, key: str, sent: Sent, submission: Submission, *, project_pk: int, job_pk: int, now: datetime
) -> None:
    """Store the project's key for the job, in the transaction that inserts it."""
    content = sent_as_job(submission)
    kept = content if sent == content else {**content, "clone": sent}
    tx.execute(
        insert(idempotency_keys).values(project_pk=project_pk, key=key, submission=kept, job_pk=job_pk, created_at=now)
    )


def _as_submitted(job: Job, submission: Mapping[str, Any]) -> Job:
    """Return the job in the state in which it was queued."""
    return replace(
        job,
        status=JobStatus.QUEUED,
        status_reason=None,
        name=submission["name"],
        tags=submission["tags"],
        priority=submission["priority"],
        engine=submission["engine"],
        device=submission["device"],
        attempt=1,
        pinned=False,
        progress=Progress(epoch=0, epochs=job.progress.epochs, step=0, steps=job.progress.steps, eta_seconds=None),
        result=None,
        error=None,
        started_at=None,
        finished_at=None,
        version=1,
        exec_profile=None,
    )
