"""Queueing of jobs: their rows and their first events, for one job and for thousands alike."""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select

from costcurve.core.spec import spec_hash
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import numbering, queue
from costcurve.store.schema import jobs
from costcurve.store.transitions import EventInfo, event, write_events

Values = dict[str, Any]


def job_values(submission: Submission, **origin: Any) -> Values:
    """The columns of a new job, as far as they do not depend on the moment when it is queued.

    Args:
        submission: what its client wants.
        origin: where it comes from, if not from its client alone: `parent_id`, or what a sweep says.
    """
    spec = submission.spec
    return {
        "id": "job_" + secrets.token_hex(10),
        "status": JobStatus.QUEUED,
        "experiment": spec.experiment,
        "loss": spec.loss,
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec_hash(spec),
        "name": submission.name,
        "priority": submission.priority,
        "pack_key": queue.pack_key(spec),
        "requested_engine": submission.engine,
        "requested_device": submission.device,
        "max_runtime_seconds": submission.max_runtime_seconds,
        "attempt": 1,
        "epoch": 0,
        "step": 0,
        "version": 1,
        **origin,
    }


def enqueue(tx: Connection, values: Sequence[Values], cause: EventInfo, *, priority: int) -> Sequence[int]:
    """Queue jobs of one priority, in this order. Returns their pks."""
    numbering.announce(tx)
    moment = {"created_at": cause.at, "queue_rank": queue.queue_rank(cause.at, priority)}
    tx.execute(insert(jobs), [{**each, **moment} for each in values])
    # Asked for afterwards: to have them returned by the insertion takes longer than all the rest.
    pks = tx.scalars(select(jobs.c.pk).where(jobs.c.id.in_([each["id"] for each in values])).order_by(jobs.c.pk)).all()
    write_events(tx, [event(pk, cause, source=None, target=JobStatus.QUEUED) for pk in pks])
    return pks
