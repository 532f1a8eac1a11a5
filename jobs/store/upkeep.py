"""The store as those use it who look after workers and after jobs that ended long ago."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, delete, select, text

from jobs import leases, queue, transitions
from jobs.fleet import Fleet, fleet
from jobs.job import Load
from jobs.store.base import OnDatabase
from jobs.store.sweeps import after_deletion, lock_sweeps
from jobs.tables import attempts, jobs, workers
from jobs.transitions import Cause, make, requeued

# Written as the index has it, so that SQLite sees that they are the same.
_unpinned = text("NOT pinned")


class ForUpkeep(OnDatabase):
    """What keeps the queue going when workers end, however they end; and the database small."""

    def retire_worker(self, worker_id: str, *, reason: str, crashed: bool, by: str = "supervisor") -> None:
        """The incarnation has ended. What it still has in hand goes back to the queue; a crash counts against it."""
        with self._database.write() as tx:
            self._retire(tx, worker_id, Cause(by, self._now(tx), reason), crashed=crashed)

    def reap(self, *, by: str) -> Sequence[str]:
        """Retire every worker whose lease is over, as it has died or hangs. Returns their ids."""
        with self._database.read() as tx:
            suspects = leases.expired(tx, self._now(tx))
        reaped = []
        for worker_id in suspects:
            with self._database.write() as tx:
                now = self._now(tx)
                if leases.is_over(tx, worker_id, now):
                    cause = Cause(by, now, f"its worker {worker_id} was no longer heard from")
                    self._retire(tx, worker_id, cause, crashed=True)
                    reaped.append(worker_id)
        return reaped

    def purge(self, *, days: float, limit: int = 500) -> int:
        """Forget up to `limit` jobs that ended more than so many days ago, but for pinned ones. Returns how many."""
        with self._database.write() as tx:
            before = self._now(tx) - timedelta(days=days)
            is_old = jobs.c.finished_at.is_not(None), _unpinned, jobs.c.finished_at < before
            columns: list[Column[Any]] = [jobs.c.pk, jobs.c.sweep_id, jobs.c.cell, jobs.c.repeat]
            old = tx.execute(select(*columns).where(*is_old).limit(limit)).all()
            lock_sweeps(tx, old)
            tx.execute(delete(jobs).where(jobs.c.pk.in_([row.pk for row in old])))
            after_deletion(tx, old)
            idle = ~select(attempts.c.pk).where(attempts.c.worker_id == workers.c.id).exists()
            tx.execute(delete(workers).where(workers.c.stopped_at < before, idle))
            return len(old)

    def load(self, *, devices: Collection[str], limit: int) -> Load:
        """What waits for one of these devices, counted up to `limit`, and which workers have something in hand."""
        with self._database.read() as tx:
            return Load(queue.count_waiting(tx, devices, limit=limit), leases.busy(tx))

    def fleet(self) -> Fleet:
        """How things stand with all jobs and workers."""
        with self._database.read() as tx:
            return fleet(tx, self._now(tx))

    def touch(self) -> datetime:
        """The present moment by the clock that leases go by, found out as somebody who renews a lease would find it."""
        with self._database.write() as tx:  # readers would not notice that writers have to wait
            return self._now(tx)

    def ended(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Those of these jobs that have ended."""
        with self._database.read() as tx:
            return tx.scalars(select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_not(None))).all()

    def known(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Return those of these jobs that the store has, ended or not."""
        with self._database.read() as tx:
            return tx.scalars(select(jobs.c.id).where(jobs.c.id.in_(job_ids))).all()

    # Parts of a transaction.

    def _retire(self, tx: Connection, worker_id: str, cause: Cause, *, crashed: bool) -> None:
        held = leases.retire(tx, worker_id, cause.at)
        make(tx, transitions.crashed(held, cause) if crashed else [requeued(row, cause) for row in held])
