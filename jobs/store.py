"""The job store: every query and every transaction. Each method is one transaction.

What a worker writes is fenced: it goes with a claim, and changes nothing (`LaneLost`) once the job is no longer running
under exactly that claim.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from jobs import idempotency
from jobs.curves import Curve, decode, encode, metrics_of
from jobs.database import Database
from jobs.errors import JobNotFound, LaneLost, UnknownMetric, WorkerCrashed
from jobs.job import Claim, Failure, Job, MnistResult, NeuronResult, Progress
from jobs.lifecycle import JobStatus, ensure_transition
from jobs.listing import JobQuery, Page, cursor_behind, select_jobs
from jobs.rows import job_of, progress_columns, result_columns, spec_of
from jobs.spec import spec_hash
from jobs.submission import Submission
from jobs.tables import attempts, curve_runs, job_tags, jobs, workers
from jobs.validation import FieldError

# A job whose worker died under it this many times is at fault itself.
MAX_ATTEMPTS = 3


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CurvePage:
    """A stretch of a job's curve, how many points the whole range has, and the x to ask for next."""

    curve: Curve
    total_points: int
    next_from: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was submitted; `replayed` if it had been before, with the same idempotency key."""

    job: Job
    replayed: bool


class JobStore:
    """Durable jobs on one database, shared by any number of services and workers."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    # For clients.

    def submit(self, submission: Submission, *, idempotency_key: str | None = None) -> Submitted:
        """Queue a job; or, if this key has come with the same submission before, give the first answer again.

        Raises:
            IdempotencyKeyReused: the key has come with another submission.
        """
        try:
            return self._submit(submission, idempotency_key)
        except IntegrityError:
            # The same key came twice at once, and the other was faster: its answer is ours.
            return self._submit(submission, idempotency_key)

    def _submit(self, submission: Submission, key: str | None) -> Submitted:
        spec = submission.spec
        with self._database.write() as tx:
            if key is not None and (pk := idempotency.job_pk_of(tx, key, submission)) is not None:
                first = tx.execute(select(jobs).where(jobs.c.pk == pk)).one()
                return Submitted(idempotency.as_submitted(job_of(first, {}), submission), replayed=True)
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
                    requested_engine=submission.engine,
                    requested_device=submission.device,
                    max_runtime_seconds=submission.max_runtime_seconds,
                    attempt=1,
                    epoch=0,
                    step=0,
                    created_at=self._clock(),
                    version=1,
                )
                .returning(jobs)
            ).one()
            tags = [{"job_pk": created.pk, "key": key, "value": value} for key, value in submission.tags.items()]
            if tags:
                tx.execute(insert(job_tags), tags)
            if key is not None:
                idempotency.remember(tx, key, submission, job_pk=created.pk, now=self._clock())
            return Submitted(job_of(created, submission.tags), replayed=False)

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises JobNotFound."""
        with self._database.read() as tx:
            return self._job(tx, job_id)

    def list(self, query: JobQuery) -> Page:
        """One page of jobs. Raises InvalidRequest for a cursor that is not this order's."""
        with self._database.read() as tx:
            rows = tx.execute(select_jobs(query)).all()
            shown = rows[: query.limit]
            tags: dict[int, dict[str, str]] = {row.pk: {} for row in shown}
            for tag in tx.execute(select(job_tags).where(job_tags.c.job_pk.in_(tags))):
                tags[tag.job_pk][tag.key] = tag.value
        items = tuple(job_of(row, tags[row.pk]) for row in shown)
        return Page(items, cursor_behind(shown[-1], query.order) if len(rows) > query.limit else None)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued job at once; ask the worker of a running one to. Twice the same is no error.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has already succeeded or failed.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status == JobStatus.RUNNING and row.cancel_requested_at is None:
                self._update(tx, row.pk, cancel_requested_at=self._clock(), status_reason="cancel requested")
            elif row.status not in (JobStatus.RUNNING, JobStatus.CANCELLED):
                self._move(tx, row, JobStatus.CANCELLED, status_reason="cancelled before it started")
            return self._job(tx, job_id)

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
            known = metrics_of(spec_of(row))
            if unknown := [metric for metric in metrics or () if metric not in known]:
                message = f"{', '.join(unknown)} is not recorded; known: {', '.join(known)}"
                raise UnknownMetric(message, errors=[FieldError("/query/metrics", message)])
            recorded = tx.scalar(select(func.max(curve_runs.c.last_x)).where(curve_runs.c.job_pk == row.pk))
            final = min(last if last is not None else (1 << 31) - 1, recorded if recorded is not None else -1)
            end = min(final, first + limit - 1)
            runs = tx.execute(
                select(curve_runs)
                .where(curve_runs.c.job_pk == row.pk, curve_runs.c.last_x >= first, curve_runs.c.first_x <= end)
                .order_by(curve_runs.c.first_x)
            ).all()
        curve = Curve.joined(
            decode(run.data, start=run.first_x, metrics=run.metrics.split(",")).between(first, end) for run in runs
        )
        found = curve if len(curve) else Curve(first)
        return CurvePage(found.only(metrics or known), total_points=max(final + 1 - first, 0), next_from=found.end)

    # For workers.

    def register_worker(self, worker_id: str, *, host: str, pid: int, device: str) -> None:
        """A new worker incarnation: `worker_id` is fresh at each process start, and goes with every claim."""
        with self._database.write() as tx:
            tx.execute(
                insert(workers).values(id=worker_id, host=host, pid=pid, device=device, started_at=self._clock())
            )

    def claim(self, worker_id: str, *, engines: Mapping[str, str], devices: Mapping[str, str]) -> Claim | None:
        """Take the first queued job that this worker can train; None when there is none.

        The job's curve, if an earlier attempt left one, is dropped: this attempt trains from the start.

        Args:
            worker_id: the incarnation that asks.
            engines: the engine to use for each engine that a job may request ("auto" included).
            devices: the device to use for each device that a job may request.
        """
        waiting = [
            # Written out, not bound: only so can a planner see that the queue's partial index applies.
            jobs.c.status == literal(JobStatus.QUEUED.value, literal_execute=True),
            jobs.c.requested_engine.in_(engines),
            jobs.c.requested_device.in_(devices),
        ]
        with self._database.read() as tx:  # Idle workers must not keep taking the write lock.
            if tx.scalar(select(jobs.c.pk).where(*waiting).limit(1)) is None:
                return None
        with self._database.write() as tx:
            row = tx.execute(
                select(jobs)
                .where(*waiting)
                .order_by(jobs.c.priority.desc(), jobs.c.pk)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if row is None:
                return None
            now = self._clock()
            engine, device = engines[row.requested_engine], devices[row.requested_device]
            attempt_pk = tx.execute(
                insert(attempts)
                .values(job_pk=row.pk, number=row.attempt, worker_id=worker_id, started_at=now)
                .returning(attempts.c.pk)
            ).scalar_one()
            tx.execute(delete(curve_runs).where(curve_runs.c.job_pk == row.pk))
            self._move(
                tx,
                row,
                JobStatus.RUNNING,
                status_reason=None,
                attempt_pk=attempt_pk,
                engine=engine,
                device=device,
                started_at=row.started_at or now,
                epoch=0,
                step=0,
                eta_seconds=None,
            )
            return Claim(
                job_id=row.id,
                job_pk=row.pk,
                attempt_pk=attempt_pk,
                attempt=row.attempt,
                spec=spec_of(row),
                engine=engine,
                device=device,
                max_runtime_seconds=row.max_runtime_seconds,
            )

    def record(self, claim: Claim, progress: Progress, curve: Curve) -> bool:
        """Keep the progress, and the curve's new points. True: the client has asked to cancel. Raises LaneLost."""
        with self._database.write() as tx:
            row = self._own(tx, claim)
            self._update(tx, row.pk, **progress_columns(progress))
            if len(curve):
                # A worker whose connection broke at the commit cannot know, and writes the same points once more.
                tx.execute(delete(curve_runs).where(curve_runs.c.job_pk == row.pk, curve_runs.c.first_x >= curve.start))
                tx.execute(
                    insert(curve_runs).values(
                        job_pk=row.pk,
                        first_x=curve.start,
                        last_x=curve.end - 1,
                        metrics=",".join(curve.series),
                        data=encode(curve),
                    )
                )
            return row.cancel_requested_at is not None

    def finish(self, claim: Claim, result: NeuronResult | MnistResult) -> None:
        """The training ended; this is what it came to. Raises LaneLost."""
        with self._database.write() as tx:
            row = self._own(tx, claim)
            self._leave(tx, row, JobStatus.SUCCEEDED, outcome="succeeded", **result_columns(result, claim.spec))

    def fail(self, claim: Claim, failure: Failure) -> None:
        """The training cannot go on. Raises LaneLost."""
        with self._database.write() as tx:
            self._fail(tx, self._own(tx, claim), failure)

    def confirm_cancel(self, claim: Claim) -> None:
        """The training has stopped because its client asked for it. Raises LaneLost."""
        with self._database.write() as tx:
            self._leave(
                tx, self._own(tx, claim), JobStatus.CANCELLED, outcome="cancelled", status_reason="cancelled on request"
            )

    def hand_back(self, claim: Claim, *, reason: str) -> None:
        """Put the job back into the queue, at no cost to it. Raises LaneLost."""
        with self._database.write() as tx:
            self._requeue(tx, self._own(tx, claim), reason=reason)

    def retire_worker(self, worker_id: str, *, reason: str, crashed: bool) -> None:
        """The incarnation has ended. A job still in its hands goes back to the queue.

        A crash costs the job one of its MAX_ATTEMPTS attempts; the last one fails it.
        """
        with self._database.write() as tx:
            ended = update(workers).where(workers.c.id == worker_id, workers.c.stopped_at.is_(None))
            tx.execute(ended.values(stopped_at=self._clock()))
            held = select(attempts.c.pk).where(attempts.c.worker_id == worker_id, attempts.c.ended_at.is_(None))
            for row in tx.execute(select(jobs).where(jobs.c.attempt_pk.in_(held)).with_for_update()).all():
                if crashed and row.attempt >= MAX_ATTEMPTS:
                    self._fail(tx, row, Failure(WorkerCrashed.code, f"{reason}, at attempt {row.attempt} of this job"))
                else:
                    self._requeue(tx, row, reason=reason, attempt=row.attempt + crashed)

    # Parts of a transaction.

    def _job(self, tx: Connection, job_id: str) -> Job:
        row = self._row(tx, job_id)
        tags = tx.execute(select(job_tags.c.key, job_tags.c.value).where(job_tags.c.job_pk == row.pk))
        return job_of(row, {tag.key: tag.value for tag in tags})

    def _row(self, tx: Connection, job_id: str, *, lock: bool = False) -> Row[Any]:
        found = select(jobs).where(jobs.c.id == job_id)
        row = tx.execute(found.with_for_update() if lock else found).one_or_none()
        if row is None:
            raise JobNotFound(f"there is no job {job_id!a}")
        return row

    def _own(self, tx: Connection, claim: Claim) -> Row[Any]:
        """The claim's row, locked; LaneLost if the job is no longer running under this very claim."""
        fence: Iterable[ColumnElement[bool]] = (
            jobs.c.pk == claim.job_pk,
            jobs.c.attempt_pk == claim.attempt_pk,
            jobs.c.status == JobStatus.RUNNING,
        )
        row = tx.execute(select(jobs).where(*fence).with_for_update()).one_or_none()
        if row is None:
            raise LaneLost(f"{claim.job_id} is no longer this worker's")
        return row

    def _update(self, tx: Connection, pk: int, **values: Any) -> None:
        tx.execute(update(jobs).where(jobs.c.pk == pk).values(version=jobs.c.version + 1, **values))

    def _move(self, tx: Connection, row: Row[Any], target: JobStatus, **values: Any) -> None:
        """The one place where a job's status changes."""
        ensure_transition(JobStatus(row.status), target)
        if target.is_terminal:
            values["finished_at"] = self._clock()
        self._update(tx, row.pk, status=target, **values)

    def _leave(self, tx: Connection, row: Row[Any], target: JobStatus, *, outcome: str, **values: Any) -> None:
        """End the attempt under which the job is running."""
        tx.execute(
            update(attempts).where(attempts.c.pk == row.attempt_pk).values(ended_at=self._clock(), outcome=outcome)
        )
        values = {"status_reason": None, "eta_seconds": None, **values}
        self._move(tx, row, target, attempt_pk=None, cancel_requested_at=None, **values)

    def _fail(self, tx: Connection, row: Row[Any], failure: Failure) -> None:
        self._leave(
            tx,
            row,
            JobStatus.FAILED,
            outcome=f"failed: {failure.code}",
            status_reason=failure.message,
            error_code=failure.code,
            error_message=failure.message,
        )

    def _requeue(self, tx: Connection, row: Row[Any], *, reason: str, **values: Any) -> None:
        if row.cancel_requested_at is not None:
            # Nobody is left to perform the request, and nobody should train what nobody wants.
            self._leave(tx, row, JobStatus.CANCELLED, outcome=reason, status_reason="cancelled on request")
            return
        self._leave(tx, row, JobStatus.QUEUED, outcome=reason, status_reason=reason, engine=None, device=None, **values)
