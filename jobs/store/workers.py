"""The store as workers use it.

What a worker writes is fenced: it goes with a claim, and changes nothing (`LaneLost`) once the job is no longer running
under exactly that claim.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from jobs import leases, queue
from jobs.curve_runs import cut, write_run
from jobs.curves import Curve
from jobs.errors import LaneLost, WorkerRetired
from jobs.job import Claim, Failure, MnistResult, NeuronResult, Progress, Request
from jobs.lifecycle import JobStatus
from jobs.rows import claim_of, progress_columns, result_columns
from jobs.settings import LEASE_SECONDS
from jobs.store.base import OnDatabase
from jobs.tables import attempts, jobs, workers
from jobs.transitions import CANCELLED_ON_REQUEST, Cause, change, fail, leave, move, requeue, write_event

_NO_CHECKPOINT = {"checkpoint": None, "checkpoint_step": 0, "checkpoint_epoch": 0}


class ForWorkers(OnDatabase):
    """What a worker does: register, keep its lease, claim, report, and bring what it has in hand to an end."""

    def register_worker(
        self,
        worker_id: str,
        *,
        host: str,
        pid: int,
        device: str,
        engines: Iterable[str] = (),
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        """A new worker incarnation: `worker_id` is fresh at each process start, and goes with every claim."""
        with self._database.write() as tx:
            now = self._now(tx)
            values = {"host": host, "pid": pid, "device": device, "engines": " ".join(engines), "started_at": now}
            expires_at = now + timedelta(seconds=lease_seconds)
            tx.execute(insert(workers).values(id=worker_id, heartbeat_at=now, lease_expires_at=expires_at, **values))

    def renew_lease(self, worker_id: str, *, seconds: float) -> bool:
        """Let the worker keep what it has for so many seconds from now on. False: it has been retired."""
        with self._database.write() as tx:
            return leases.renew(tx, worker_id, self._now(tx), seconds)

    def claim(
        self, worker_id: str, *, engines: Mapping[str, str], devices: Mapping[str, str], limit: int = 1
    ) -> Sequence[Claim]:
        """Take the first queued job that this worker can train, and up to limit - 1 that can be trained with it.

        A job goes on from its checkpoint, and from the curve's points up to there; without one, from the start.

        Args:
            worker_id: the incarnation that asks.
            engines: the engine to use for each engine that a job may request ("auto" included).
            devices: the device to use for each device that a job may request.
            limit: how many jobs at most.

        Raises:
            WorkerRetired: the incarnation has been given up.
        """
        with self._database.read() as tx:  # Idle workers must not keep taking the write lock.
            requests = queue.next_in_line(tx, engines=engines, devices=devices)
        if not requests:
            return []
        with self._database.write() as tx:
            if not leases.locked(tx, worker_id):
                raise WorkerRetired(f"worker {worker_id} was given up")
            for device, engine in requests:
                head = queue.take_head(tx, device, engine)
                if head is not None:
                    rows = [head, *queue.take_company(tx, head, limit - 1)]
                    now = self._now(tx)
                    return [self._begin(tx, row, worker_id, engines[engine], devices[device], now) for row in rows]
        return []

    def _begin(self, tx: Connection, row: Row[Any], worker_id: str, engine: str, device: str, now: datetime) -> Claim:
        attempt = {"job_pk": row.pk, "number": row.attempt, "worker_id": worker_id, "started_at": now}
        attempt_pk = tx.execute(insert(attempts).values(**attempt).returning(attempts.c.pk)).scalar_one()
        if row.started_at is not None:
            cut(tx, row.pk, first=row.checkpoint_epoch)
        place = "the beginning" if row.checkpoint is None else f"step {row.checkpoint_step}"
        move(
            tx,
            row,
            JobStatus.RUNNING,
            Cause(worker_id, now, f"attempt {row.attempt}, on {device}, from {place}"),
            status_reason=None,
            attempt_pk=attempt_pk,
            engine=engine,
            device=device,
            started_at=row.started_at or now,
            epoch=row.checkpoint_epoch,
            step=row.checkpoint_step,
            eta_seconds=None,
        )
        return claim_of(row, attempt_pk=attempt_pk, worker_id=worker_id, engine=engine, device=device)

    def restart(self, claim: Claim, *, why: str) -> None:
        """The checkpoint cannot be used: the job, still the worker's own, begins anew. Raises LaneLost."""
        with self._database.write() as tx:
            row = self._own(tx, claim)
            cut(tx, row.pk, first=0)
            change(tx, row, **_NO_CHECKPOINT, epoch=0, step=0)
            write_event(tx, row.pk, self._by(tx, claim, why), source=row.status, target=row.status)

    def record(
        self, claim: Claim, progress: Progress, curve: Curve, *, checkpoint: str | None = None
    ) -> Request | None:
        """Keep the progress, the curve's new points, and the checkpoint of exactly this state, if one was written.

        Returns:
            What the client has asked for, if anything.

        Raises:
            LaneLost: the job is no longer this worker's.
        """
        with self._database.write() as tx:
            row = self._own(tx, claim)
            values = progress_columns(progress)
            if checkpoint is not None:
                place = {"checkpoint_step": progress.step, "checkpoint_epoch": progress.epoch}
                # It gets on: what killed its workers before was not this.
                values |= {"checkpoint": checkpoint, **place, "crashes": 0}
            change(tx, row, **values)
            if len(curve):
                write_run(tx, row.pk, curve)
            if row.cancel_requested_at is not None:
                return Request.CANCEL
            return Request.PAUSE if row.pause_requested_at is not None else None

    def finish(self, claim: Claim, result: NeuronResult | MnistResult) -> None:
        """The training ended; this is what it came to. Raises LaneLost."""
        with self._database.write() as tx:
            row = self._own(tx, claim)
            values = {"status_reason": None, **_NO_CHECKPOINT, **result_columns(result, claim.spec)}
            why = values["status_reason"] or "training ended"
            leave(tx, row, JobStatus.SUCCEEDED, self._by(tx, claim, why), outcome="succeeded", **values)

    def fail(self, claim: Claim, failure: Failure) -> None:
        """The training cannot go on. Raises LaneLost."""
        with self._database.write() as tx:
            fail(tx, self._own(tx, claim), failure, self._by(tx, claim, failure.message))

    def confirm_cancel(self, claim: Claim) -> None:
        """The training has stopped because its client asked for it. Raises LaneLost."""
        with self._database.write() as tx:
            cause = self._by(tx, claim, CANCELLED_ON_REQUEST)
            leave(tx, self._own(tx, claim), JobStatus.CANCELLED, cause, outcome="cancelled")

    def confirm_pause(self, claim: Claim) -> None:
        """The training has been put aside because its client asked for it. Raises LaneLost.

        The client may have changed its mind since: then the job is cancelled, or goes back into the queue.
        """
        with self._database.write() as tx:
            requeue(tx, self._own(tx, claim), self._by(tx, claim, "put aside, as its client had asked"))

    def hand_back(self, claim: Claim, *, reason: str) -> None:
        """Put the job back into the queue, at no cost to it. Raises LaneLost."""
        with self._database.write() as tx:
            requeue(tx, self._own(tx, claim), self._by(tx, claim, reason))

    # Parts of a transaction.

    def _by(self, tx: Connection, claim: Claim, why: str) -> Cause:
        return Cause(claim.worker_id, self._now(tx), why)

    def _own(self, tx: Connection, claim: Claim) -> Row[Any]:
        """The claim's row, locked; LaneLost if the job is no longer running under this very claim."""
        fence = (jobs.c.pk == claim.job_pk, jobs.c.attempt_pk == claim.attempt_pk, jobs.c.status == JobStatus.RUNNING)
        # By its id too: SQLite gives the numbers of deleted rows to new ones.
        found = select(jobs).where(*fence, jobs.c.id == claim.job_id)
        row = tx.execute(found.with_for_update()).one_or_none()
        if row is None:
            raise LaneLost(f"{claim.job_id} is no longer this worker's")
        return row
