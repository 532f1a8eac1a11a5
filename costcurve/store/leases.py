"""Worker incarnations and their leases, as rows of the database.

Each worker holds one lease for all its running jobs and renews it while training progresses. After expiry, any process
may retire the worker and requeue its jobs.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select, union, update

from costcurve.core.job import WorkerInfo
from costcurve.store.queue import is_running
from costcurve.store.schema import attempts, jobs, workers

is_not_stopped = workers.c.stopped_at.is_(None)


def locked(tx: Connection, worker_id: str) -> bool:
    """Lock a worker incarnation; return False if it was retired.

    Until the transaction ends, no other transaction can retire it. An earlier claim of the same worker may still be
    committing after its connection was lost: the lock waits for it.
    """
    found = select(workers.c.id).where(workers.c.id == worker_id, is_not_stopped).with_for_update(key_share=True)
    return tx.execute(found).one_or_none() is not None


def holds_jobs(tx: Connection, worker_id: str) -> bool:
    """Return True if a job runs under this worker, without locking."""
    return tx.execute(select(jobs.c.pk).where(*_run_under(worker_id)).limit(1)).one_or_none() is not None


def held(tx: Connection, worker_id: str) -> list[Row[Any]]:
    """Lock and return the jobs that run under this worker."""
    # By pk, like every lock on several jobs, to avoid deadlocks.
    return list(tx.execute(select(jobs).where(*_run_under(worker_id)).order_by(jobs.c.pk).with_for_update()).all())


def renew(tx: Connection, worker_id: str, now: datetime, seconds: float) -> bool:
    """Extend the worker's lease; return False if it has been retired.

    The lease then ends `seconds` after `now`, or later if it already did.
    """
    found = select(workers.c.lease_expires_at).where(workers.c.id == worker_id, is_not_stopped).with_for_update()
    row = tx.execute(found).one_or_none()
    if row is None:
        return False
    until = now + timedelta(seconds=seconds)
    expires_at = until if row.lease_expires_at is None else max(until, row.lease_expires_at)
    tx.execute(update(workers).where(workers.c.id == worker_id).values(heartbeat_at=now, lease_expires_at=expires_at))
    return True


def retire(tx: Connection, worker_id: str, now: datetime) -> list[Row[Any]]:
    """Mark the worker incarnation as stopped; lock and return its jobs.

    A stopped incarnation cannot claim jobs any more.
    """
    tx.execute(update(workers).where(workers.c.id == worker_id, is_not_stopped).values(stopped_at=now))
    return held(tx, worker_id)


def expired(tx: Connection, now: datetime) -> list[str]:
    """Return the ids of the worker incarnations that must be retired.

    The lease of these has expired, or they stopped and a job still runs under them.
    """
    over = select(workers.c.id).where(is_not_stopped, workers.c.lease_expires_at < now)
    gone = (
        select(workers.c.id)
        .join(attempts, attempts.c.worker_id == workers.c.id)
        .join(jobs, jobs.c.attempt_pk == attempts.c.pk)
        .where(is_running, workers.c.stopped_at.is_not(None))
    )
    return list(tx.scalars(union(over, gone)))


def is_over(tx: Connection, worker_id: str, now: datetime) -> bool:
    """Lock the worker; return True if it must still be retired.

    `expired` finds candidates without a lock. This lock keeps the answer valid until the transaction ends.
    """
    row = tx.execute(select(workers).where(workers.c.id == worker_id).with_for_update()).one()
    return row.stopped_at is not None or (row.lease_expires_at is not None and row.lease_expires_at < now)


def alive(tx: Connection, now: datetime, own: ColumnElement[bool] | None = None) -> list[WorkerInfo]:
    """Return the live worker incarnations with the ids of their running jobs, or of those that meet a condition.

    An incarnation is live until it stops or its lease expires.
    """
    found: Select[Any] = select(workers).where(is_not_stopped, workers.c.lease_expires_at >= now)
    rows = tx.execute(found.order_by(workers.c.started_at, workers.c.id)).all()
    running = tx.execute(
        select(attempts.c.worker_id, jobs.c.id)
        .join(jobs, jobs.c.attempt_pk == attempts.c.pk)
        .where(is_running, *(() if own is None else (own,)))
        .order_by(jobs.c.attempt_pk)
    ).all()
    return [
        WorkerInfo(
            id=row.id,
            host=row.host,
            pid=row.pid,
            device=row.device,
            engines=tuple((row.engines or "").split()),
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
            lease_expires_at=row.lease_expires_at,
            job_ids=tuple(held.id for held in running if held.worker_id == row.id),
        )
        for row in rows
    ]


def busy(tx: Connection) -> frozenset[str]:
    """Return the ids of the workers with a running job."""
    held = select(attempts.c.worker_id).join(jobs, jobs.c.attempt_pk == attempts.c.pk).where(is_running)
    return frozenset(tx.scalars(held.distinct()))


def alive_means(tx: Connection, now: datetime) -> Sequence[Row[Any]]:
    """Return the distinct pairs of device and engines of live workers."""
    means: Select[Any] = select(workers.c.device, workers.c.engines).where(
        is_not_stopped, workers.c.lease_expires_at >= now
    )
    return tx.execute(means.distinct()).all()


def why_waiting(job: Row[Any], position: int, means: Sequence[Row[Any]]) -> str:
    """Return the reason, in words, why a queued job has not started."""
    if not means:
        return "no worker is alive"
    if job.requested_device == "cuda":
        means = [each for each in means if each.device != "cpu"]
        if not means:
            return "no live worker has a CUDA device"
    # Workers of older versions register no engines.
    if job.requested_engine != "auto" and all(
        each.engines and job.requested_engine not in each.engines.split() for each in means
    ):
        return f"no live worker has the engine {job.requested_engine}"
    if position == 1:
        return "next in line for a free worker"
    return f"{position - 1:,} {'job is' if position == 2 else 'jobs are'} before it"


def _run_under(worker_id: str) -> tuple[ColumnElement[bool], ...]:
    is_open = attempts.c.worker_id == worker_id, attempts.c.ended_at.is_(None)
    return is_running, jobs.c.attempt_pk.in_(select(attempts.c.pk).where(*is_open))
