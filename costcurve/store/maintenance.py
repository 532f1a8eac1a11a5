"""Maintenance: retire workers, reap expired leases, purge old jobs, read statistics."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, LargeBinary, Table, delete, func, select, text

from costcurve.core.job import Load
from costcurve.store import leases, queue, transitions
from costcurve.store.base import OnDatabase
from costcurve.store.queue_stats import QueueStats, read_queue_stats
from costcurve.store.schema import attempts, curve_runs, jobs, models, step_runs, workers
from costcurve.store.sweeps import after_deletion, lock_sweeps
from costcurve.store.transitions import EventInfo, apply_status_changes, plan_requeue

# Limits of one purge transaction: SQLite's other writers wait for it.
PURGED_JOBS, PURGED_BYTES = 500, 8 * 2**20

# Spelled as in the index, so that SQLite recognises it and uses the index.
_unpinned = text("NOT pinned")


def _bytes_in(table: Table) -> ColumnElement[int]:
    """Return an SQL expression for a job's bytes in this table."""
    lengths = [func.sum(func.length(column)) for column in table.columns if isinstance(column.type, LargeBinary)]
    return func.coalesce(select(reduce(add, lengths)).where(table.c.job_pk == jobs.c.pk).scalar_subquery(), 0)


_size = reduce(add, (_bytes_in(table) for table in (models, curve_runs, step_runs)))


class ForMaintenance(OnDatabase):
    """Store methods that requeue jobs of ended workers and purge old jobs."""

    def retire_worker(self, worker_id: str, *, reason: str, crashed: bool, by: str = "supervisor") -> None:
        """Mark a worker incarnation as ended and requeue its running jobs.

        If it crashed, the crash counts against these jobs.
        """
        with self._database.write() as tx:
            retire(tx, worker_id, EventInfo(by, self._now(tx), reason), crashed=crashed)

    def reap(self, *, by: str) -> Sequence[str]:
        """Retire every worker whose lease has expired; return their ids.

        Such a worker has died or hangs. Workers that stopped while a job ran under them are retired too.
        """
        with self._database.read() as tx:
            suspects = leases.expired(tx, self._now(tx))
        reaped = []
        for worker_id in suspects:
            with self._database.write() as tx:
                now = self._now(tx)
                if leases.is_over(tx, worker_id, now):
                    cause = EventInfo(by, now, f"its worker {worker_id} did not renew its lease")
                    retire(tx, worker_id, cause, crashed=True)
                    reaped.append(worker_id)
        return reaped

    def purge(self, *, days: float, limit: int = PURGED_JOBS, max_bytes: int = PURGED_BYTES) -> int:
        """Delete old jobs that are not pinned, in one short transaction.

        Jobs that ended first are deleted first. Jobs that another transaction is changing are skipped until the next
        call. Workers that stopped equally long ago and have no attempts left are deleted too.

        Args:
            days: retention of jobs after their end, in days.
            limit: maximum number of jobs to delete.
            max_bytes: maximum bytes of networks and curves to delete; a single larger job is deleted alone.

        Returns:
            The number of deleted jobs.
        """
        with self._database.read() as tx:
            before = self._now(tx) - timedelta(days=days)
            is_old = jobs.c.finished_at.is_not(None), _unpinned, jobs.c.finished_at < before
            first = select(jobs.c.pk, jobs.c.sweep_id, _size.label("size")).where(*is_old)
            old = tx.execute(first.order_by(jobs.c.finished_at, jobs.c.pk).limit(limit)).all()
        sizes = accumulate(row.size for row in old)
        chosen = [
            row for number, (row, size) in enumerate(zip(old, sizes, strict=True)) if not number or size <= max_bytes
        ]
        with self._database.write() as tx:
            lock_sweeps(tx, chosen)
            # By pk, like every lock on several jobs. The age is checked again: a job may have been pinned meanwhile.
            columns: list[Column[Any]] = [jobs.c.pk, jobs.c.sweep_id, jobs.c.cell, jobs.c.repeat]
            still_old = select(*columns).where(jobs.c.pk.in_([row.pk for row in chosen]), *is_old).order_by(jobs.c.pk)
            deleted = tx.execute(still_old.with_for_update(skip_locked=True)).all()
            tx.execute(delete(jobs).where(jobs.c.pk.in_([row.pk for row in deleted])))
            after_deletion(tx, deleted)
            idle = ~select(attempts.c.pk).where(attempts.c.worker_id == workers.c.id).exists()
            tx.execute(delete(workers).where(workers.c.stopped_at < before, idle))
            return len(deleted)

    def load(self, *, devices: Collection[str], limit: int) -> Load:
        """Return the number of queued jobs and the busy workers' ids.

        Only jobs that request one of `devices` count, and no more than `limit`.
        """
        with self._database.read() as tx:
            return Load(queue.count_waiting(tx, devices, limit=limit), leases.busy(tx))

    def fleet(self) -> QueueStats:
        """Return the current statistics of all jobs and workers."""
        with self._database.read() as tx:
            return read_queue_stats(tx, self._now(tx))

    def touch(self) -> datetime:
        """Return the current time of the lease clock, in a write transaction.

        The call waits and fails as the renewal of a lease would.
        """
        with self._database.write() as tx:  # a read would not notice that writers have to wait
            return self._now(tx)

    def ended(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Return the ids of the given jobs that have ended."""
        with self._database.read() as tx:
            return tx.scalars(select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_not(None))).all()

    def known(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Return the ids of the given jobs that exist, ended or not."""
        with self._database.read() as tx:
            return tx.scalars(select(jobs.c.id).where(jobs.c.id.in_(job_ids))).all()


def retire(tx: Connection, worker_id: str, cause: EventInfo, *, crashed: bool) -> None:
    """Retire a worker incarnation and requeue its jobs, within a transaction."""
    held = leases.retire(tx, worker_id, cause.at)
    apply_status_changes(
        tx, transitions.plan_crash(held, cause) if crashed else [plan_requeue(row, cause) for row in held]
    )
