"""The job store: every query and every transaction. Each method is one transaction.

What a worker writes is fenced: it goes with a claim, and changes nothing (`LaneLost`) once the job is no longer running
under exactly that claim.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from jobs import idempotency, leases, queue
from jobs.clones import cloned
from jobs.curve_runs import CurvePage, cut, read_curve, write_run
from jobs.curves import Curve
from jobs.database import Database
from jobs.errors import InvalidTransition, JobNotFound, LaneLost, WorkerRetired
from jobs.job import Claim, Event, Failure, Job, MnistResult, NeuronResult, Progress, Request, WorkerInfo
from jobs.lifecycle import JobStatus
from jobs.listing import JobQuery, Page, cursor_behind, select_jobs
from jobs.rows import claim_of, event_of, job_of, progress_columns, result_columns, waiting
from jobs.settings import LEASE_SECONDS
from jobs.spec import spec_hash
from jobs.submission import Clone, JobChanges, Submission
from jobs.tables import attempts, events, job_tags, jobs, workers
from jobs.transitions import (
    CANCELLED_ON_REQUEST,
    Cause,
    change,
    crash,
    fail,
    leave,
    move,
    requeue,
    write_event,
)

CLIENT = "client"

# What is to be queued, found out in the transaction that does it; and of which job it is a clone, if it is one.
_What = Callable[[Connection], tuple[Submission, str | None]]


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was submitted; `replayed` if it had been before, with the same idempotency key."""

    job: Job
    replayed: bool


class JobStore:
    """Durable jobs on one database, shared by any number of services and workers."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] | None = None) -> None:
        """A store on this database; its clock, if none is given, is the database's own, the same for everybody."""
        self._database = database
        self._clock = clock

    # For clients.

    def submit(self, submission: Submission, *, idempotency_key: str | None = None) -> Submitted:
        """Queue a job; or, if this key has come with the same submission before, give the first answer again.

        Raises:
            IdempotencyKeyReused: the key has come with another submission.
        """
        return self._once(idempotency_key, idempotency.sent_as_job(submission), lambda _: (submission, None))

    def clone(self, job_id: str, overrides: Clone, *, idempotency_key: str | None = None) -> Submitted:
        """Queue the same job again, but for the overrides.

        Raises:
            JobNotFound: there is no such job.
            InvalidRequest: the overrides do not fit the job.
            IdempotencyKeyReused: the key has come with another submission.
        """

        def original(tx: Connection) -> tuple[Submission, str]:
            row = self._row(tx, job_id)
            asked = {"engine": row.requested_engine, "device": row.requested_device}
            return cloned(self._with_tags(tx, row), asked, overrides), row.id

        return self._once(idempotency_key, idempotency.sent_as_clone(job_id, overrides), original)

    def _once(self, key: str | None, sent: idempotency.Sent, what: _What) -> Submitted:
        try:
            return self._submit(key, sent, what)
        except IntegrityError:
            # The same key came twice at once, and the other was faster: its answer is ours.
            return self._submit(key, sent, what)

    def _submit(self, key: str | None, sent: idempotency.Sent, what: _What) -> Submitted:
        with self._database.write() as tx:
            if key is not None and (first := idempotency.first_answer(tx, key, sent)) is not None:
                return Submitted(first, replayed=True)
            submission, parent_id = what(tx)
            job = self._insert(tx, submission, parent_id)
            if key is not None:
                idempotency.remember(tx, key, sent, submission, job_pk=job.pk, now=job.created_at)
            return Submitted(job_of(job, submission.tags), replayed=False)

    def _insert(self, tx: Connection, submission: Submission, parent_id: str | None) -> Row[Any]:
        spec, now = submission.spec, self._now(tx)
        created = tx.execute(
            insert(jobs)
            .values(
                id="job_" + secrets.token_hex(10),
                status=JobStatus.QUEUED,
                experiment=spec.experiment,
                loss=spec.loss,
                spec=spec.model_dump(mode="json"),
                spec_hash=spec_hash(spec),
                name=submission.name,
                priority=submission.priority,
                queue_rank=queue.queue_rank(now, submission.priority),
                pack_key=queue.pack_key(spec),
                parent_id=parent_id,
                requested_engine=submission.engine,
                requested_device=submission.device,
                max_runtime_seconds=submission.max_runtime_seconds,
                attempt=1,
                epoch=0,
                step=0,
                created_at=now,
                version=1,
            )
            .returning(jobs)
        ).one()
        self._tag(tx, created.pk, submission.tags)
        why = "submitted" if parent_id is None else f"submitted as a clone of {parent_id}"
        write_event(tx, created.pk, Cause(CLIENT, now, why), source=None, target=JobStatus.QUEUED)
        return created

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises JobNotFound."""
        with self._database.read() as tx:
            return self._job(tx, job_id)

    def list(self, query: JobQuery) -> Page:
        """One page of jobs. Raises InvalidRequest for a cursor that is not this order's."""
        with self._database.read() as tx:
            rows = tx.execute(select_jobs(query)).all()
            shown = rows[: query.limit]
            items = self._seen(tx, shown)
        return Page(items, cursor_behind(shown[-1], query.order) if len(rows) > query.limit else None)

    def cancel(self, job_id: str) -> Job:
        """Cancel a waiting job at once; ask the worker of a running one to. Twice the same is no error.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has already succeeded or failed.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status == JobStatus.RUNNING:
                if row.cancel_requested_at is None:
                    now = self._now(tx)
                    self._request(tx, row, "cancel requested", cancel_requested_at=now, pause_requested_at=None)
            elif row.status != JobStatus.CANCELLED:
                move(tx, row, JobStatus.CANCELLED, self._by_client(tx, "cancelled by its client"))
            return self._job(tx, job_id)

    def pause(self, job_id: str) -> Job:
        """Hold a queued job; ask the worker of a running one to put it aside. Twice the same is no error.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has ended, or is about to be cancelled.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status == JobStatus.RUNNING:
                if row.cancel_requested_at is not None:
                    raise InvalidTransition("a running job that is to be cancelled cannot become paused")
                if row.pause_requested_at is None:
                    self._request(tx, row, "pause requested", pause_requested_at=self._now(tx))
            elif row.status != JobStatus.PAUSED:
                move(tx, row, JobStatus.PAUSED, self._by_client(tx, "paused by its client"))
            return self._job(tx, job_id)

    def resume(self, job_id: str) -> Job:
        """Put a paused job back into the queue, where it left off; one that is not paused goes on anyway.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has ended.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status == JobStatus.RUNNING and row.pause_requested_at is not None:
                self._request(tx, row, "pause withdrawn", pause_requested_at=None, status_reason=None)
            elif row.status not in (JobStatus.QUEUED, JobStatus.RUNNING):
                move(tx, row, JobStatus.QUEUED, self._by_client(tx, "resumed by its client"))
            return self._job(tx, job_id)

    def update(self, job_id: str, changes: JobChanges) -> Job:
        """Change what a client may change of a job, whatever its state. Raises JobNotFound."""
        given = changes.model_dump(exclude_unset=True)
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if "tags" in given:
                tx.execute(delete(job_tags).where(job_tags.c.job_pk == row.pk))
                self._tag(tx, row.pk, given.pop("tags"))
            if "priority" in given:
                given["queue_rank"] = queue.queue_rank(row.created_at, given["priority"])
            if changes.model_fields_set:
                change(tx, row, **given)
            return self._job(tx, job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, with all that belongs to it.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: it has not ended.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if not JobStatus(row.status).is_terminal:
                raise InvalidTransition(f"a {row.status} job cannot become deleted; cancel it first")
            tx.execute(delete(jobs).where(jobs.c.pk == row.pk))

    def events(self, job_id: str) -> tuple[Event, ...]:
        """Everything that happened to the job, the first first. Raises JobNotFound."""
        with self._database.read() as tx:
            row = self._row(tx, job_id)
            found = tx.execute(select(events).where(events.c.job_pk == row.pk).order_by(events.c.pk))
            return tuple(event_of(event) for event in found)

    def curve(
        self,
        job_id: str,
        *,
        metrics: tuple[str, ...] | None = None,
        first: int = 0,
        last: int | None = None,
        limit: int,
    ) -> CurvePage:
        """At most `limit` points with first <= x <= last, from the first on; all metrics if none are named.

        Raises:
            JobNotFound: there is no such job.
            UnknownMetric: the job's experiment does not record one of the metrics.
        """
        with self._database.read() as tx:
            row = self._row(tx, job_id)
            return read_curve(tx, row, metrics=metrics, first=first, last=last, limit=limit)

    def workers(self) -> Sequence[WorkerInfo]:
        """Every worker that is alive."""
        with self._database.read() as tx:
            return leases.alive(tx, self._now(tx))

    # For workers.

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

    # For whoever looks after workers.

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
            old = select(jobs.c.pk).where(jobs.c.finished_at.is_not(None), _unpinned, jobs.c.finished_at < before)
            pks = tx.scalars(old.limit(limit)).all()
            tx.execute(delete(jobs).where(jobs.c.pk.in_(pks)))
            idle = ~select(attempts.c.pk).where(attempts.c.worker_id == workers.c.id).exists()
            tx.execute(delete(workers).where(workers.c.stopped_at < before, idle))
            return len(pks)

    def touch(self) -> datetime:
        """The present moment by the clock that leases go by, found out as somebody who renews a lease would find it."""
        with self._database.write() as tx:  # readers would not notice that writers have to wait
            return self._now(tx)

    def ended(self, job_ids: Sequence[str]) -> Sequence[str]:
        """Those of these jobs that have ended."""
        with self._database.read() as tx:
            return tx.scalars(select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.finished_at.is_not(None))).all()

    # Parts of a transaction.

    def _now(self, tx: Connection) -> datetime:
        if self._clock is not None:
            return self._clock()
        if tx.dialect.name == "postgresql":
            moment: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
            return moment
        return datetime.now(UTC)  # SQLite runs in this very process

    def _by(self, tx: Connection, claim: Claim, why: str) -> Cause:
        return Cause(claim.worker_id, self._now(tx), why)

    def _by_client(self, tx: Connection, why: str) -> Cause:
        return Cause(CLIENT, self._now(tx), why)

    def _request(self, tx: Connection, row: Row[Any], why: str, **values: Any) -> None:
        """Ask the worker of a running job for something, or no longer."""
        change(tx, row, **{"status_reason": why, **values})
        write_event(tx, row.pk, self._by_client(tx, why), source=row.status, target=row.status)

    def _retire(self, tx: Connection, worker_id: str, cause: Cause, *, crashed: bool) -> None:
        held = leases.retire(tx, worker_id, cause.at)
        if crashed:
            crash(tx, held, cause)
            return
        for row in held:
            requeue(tx, row, cause)

    def _job(self, tx: Connection, job_id: str) -> Job:
        return self._seen(tx, [self._row(tx, job_id)])[0]

    def _seen(self, tx: Connection, rows: Sequence[Row[Any]]) -> tuple[Job, ...]:
        """Jobs as they stand, with their tags; waiting ones with their place in the queue, and why they wait."""
        tags: dict[int, dict[str, str]] = {row.pk: {} for row in rows}
        for tag in tx.execute(select(job_tags).where(job_tags.c.job_pk.in_(tags))):
            tags[tag.job_pk][tag.key] = tag.value
        places = queue.positions(tx, rows)
        devices = leases.alive_devices(tx, self._now(tx)) if places else ()
        return tuple(
            job_of(row, tags[row.pk])
            if (place := places.get(row.pk)) is None
            else waiting(job_of(row, tags[row.pk]), place, leases.why_waiting(row.requested_device, place, devices))
            for row in rows
        )

    def _with_tags(self, tx: Connection, row: Row[Any]) -> Job:
        tags = tx.execute(select(job_tags.c.key, job_tags.c.value).where(job_tags.c.job_pk == row.pk))
        return job_of(row, {tag.key: tag.value for tag in tags})

    def _tag(self, tx: Connection, job_pk: int, tags: Mapping[str, str]) -> None:
        if tags:
            tx.execute(
                insert(job_tags), [{"job_pk": job_pk, "key": key, "value": value} for key, value in tags.items()]
            )

    def _row(self, tx: Connection, job_id: str, *, lock: bool = False) -> Row[Any]:
        found = select(jobs).where(jobs.c.id == job_id)
        row = tx.execute(found.with_for_update() if lock else found).one_or_none()
        if row is None:
            raise JobNotFound(f"there is no job {job_id!a}")
        return row

    def _own(self, tx: Connection, claim: Claim) -> Row[Any]:
        """The claim's row, locked; LaneLost if the job is no longer running under this very claim."""
        fence = (jobs.c.pk == claim.job_pk, jobs.c.attempt_pk == claim.attempt_pk, jobs.c.status == JobStatus.RUNNING)
        # By its id too: SQLite gives the numbers of deleted rows to new ones.
        found = select(jobs).where(*fence, jobs.c.id == claim.job_id)
        row = tx.execute(found.with_for_update()).one_or_none()
        if row is None:
            raise LaneLost(f"{claim.job_id} is no longer this worker's")
        return row


# Written as the index has it, so that SQLite sees that they are the same.
_unpinned = text("NOT pinned")
_NO_CHECKPOINT = {"checkpoint": None, "checkpoint_step": 0, "checkpoint_epoch": 0}
