"""Queueing: the rows and first events of one job or thousands."""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from costcurve.core.placement import STORED_BY_NAME
from costcurve.core.spec import spec_hash
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import numbering, queue
from costcurve.store.schema import jobs
from costcurve.store.transitions import EventInfo, event, write_events

Values = dict[str, Any]


def job_values(submission: Submission, **origin: Any) -> Values:
    """Return the columns of a new job, without the columns that `enqueue` adds.

    Args:
        submission: the validated submission.
        origin: further columns of a clone, a retry or a sweep's job, such as `parent_id` or `sweep_id`.
    """
    spec = submission.spec
    return {
        "id": "job_" + secrets.token_hex(10),
        "status": JobStatus.QUEUED,
        "experiment": spec.experiment,
        "loss": spec.loss,
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec_hash(spec),
        **{name: getattr(submission, name) for name in STORED_BY_NAME},
        "pack_key": queue.pack_key(spec),
        "requested_engine": submission.engine,
        "requested_device": submission.device,
        "attempt": 1,
        "epoch": 0,
        "step": 0,
        "version": 1,
        **origin,
    }


def enqueue(
    tx: Connection, values: Sequence[Values], cause: EventInfo, *, project_pk: int, priority: int
) -> Sequence[int]:
    """Queue jobs of one project and one priority, in this order; return their pks."""
    numbering.announce(tx)
    common = {"project_pk": project_pk, "created_at": cause.at, "queue_rank": queue.queue_rank(cause.at, priority)}
    tx.execute(insert(jobs), [{**each, **common} for each in values])
    # A query of its own: an INSERT that returns them takes longer than all the rest.
    pks = tx.scalars(select(jobs.c.pk).where(jobs.c.id.in_([each["id"] for each in values])).order_by(jobs.c.pk)).all()
    write_events(tx, [event(pk, cause, source=None, target=JobStatus.QUEUED) for pk in pks])
    return pks
