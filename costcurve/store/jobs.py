"""The store's methods for clients: submit, read, change and delete jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, delete, select
from sqlalchemy.exc import IntegrityError

from costcurve.core.curve import Granularity
from costcurve.core.errors import InvalidTransition, JobNotFound
from costcurve.core.job import Event, Job, WorkerInfo
from costcurve.core.status import JobStatus
from costcurve.core.submission import Clone, Fork, JobChanges, Submission, cloned, forked
from costcurve.store import idempotency, leases, numbering, queue
from costcurve.store.admission import Asked, Cost, Queueing, ensure_priority, limits_of
from costcurve.store.base import ensure_found, strip_nul
from costcurve.store.curve_chunks import (
    CurveHead,
    CurvePage,
    Start,
    StoredChunk,
    read_chunks,
    read_curve,
    read_heads,
    read_starts,
)
from costcurve.store.enqueue import job_values
from costcurve.store.pagination import JobQuery, Page, cursor_behind, select_jobs
from costcurve.store.row_mapping import event_of, job_of, with_queue_position
from costcurve.store.schema import events, job_tags, jobs
from costcurve.store.sweeps import after_deletion, lock_sweeps
from costcurve.store.tags import give_tags, replace_tags
from costcurve.store.transitions import cancel_all, change, change_status, request_all

# A job's number of changes, and columns that differ between histories with equal numbers: a database restored from a
# backup continues from an old number.
Version = tuple[Any, ...]
# Called with the locked job before it is changed; may raise.
Check = Callable[[Job], None] | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A submitted job; `replayed` if its idempotency key was used before."""

    job: Job
    replayed: bool


@dataclass(frozen=True, slots=True)
class _New:
    """A job to queue, the id of the job that it derives from, and the reason for its first event."""

    submission: Submission
    parent_id: str | None = None
    why: str = "submitted"


# Called in the submitting transaction.
_What = Callable[[Connection], _New]
# Makes a submission from a job, and from the engine and the device that its client requested.
_Derive = Callable[[Job, dict[str, str]], Submission]


class ForClients(Queueing):
    """Store methods for jobs, which clients call through the service."""

    def submit(self, submission: Submission, *, idempotency_key: str | None = None) -> Submitted:
        """Queue a job, or return the first response to this key again.

        A key that has come with the same submission before queues no second job.

        Raises:
            IdempotencyKeyReused: the key has come with another submission.
            InvalidRequest, SubmissionTooLarge, QuotaExceeded: a limit of the project, as for every method that queues
                jobs.
        """
        return self._once(idempotency_key, idempotency.sent_as_job(submission), lambda _: _New(submission))

    def clone(self, job_id: str, overrides: Clone, *, idempotency_key: str | None = None) -> Submitted:
        """Queue a copy of a job with the overridden fields changed.

        Raises:
            JobNotFound: there is no such job.
            InvalidRequest: the overrides do not fit the job.
            IdempotencyKeyReused: the key has come with another submission.
        """

        def derive(original: Job, asked: dict[str, str]) -> Submission:
            return cloned(original, asked, overrides)

        sent = idempotency.sent_as_clone(job_id, overrides)
        return self._once(idempotency_key, sent, self._derived(job_id, derive, "a clone"))

    def fork(self, job_id: str, fork: Fork, *, idempotency_key: str | None = None) -> Submitted:
        """Queue a job that equals another up to an epoch, and differs from there on.

        Raises:
            JobNotFound: there is no such job.
            InvalidRequest: the epoch or the change does not fit the job.
            IdempotencyKeyReused: the key has come with another submission.
        """

        def derive(parent: Job, asked: dict[str, str]) -> Submission:
            return forked(parent, asked, fork)

        sent = idempotency.sent_as_fork(job_id, fork)
        return self._once(idempotency_key, sent, self._derived(job_id, derive, "a fork", f" at epoch {fork.at_epoch}"))

    def _derived(self, job_id: str, derive: _Derive, kind: str, where: str = "") -> _What:
        def what(tx: Connection) -> _New:
            row = self._row(tx, job_id)
            asked = {"engine": row.requested_engine, "device": row.requested_device}
            return _New(derive(self._with_tags(tx, row), asked), row.id, f"submitted as {kind} of {row.id}{where}")

        return what

    def _once(self, key: str | None, sent: idempotency.Sent, what: _What) -> Submitted:
        try:
            return self._submit(key, sent, what)
        except IntegrityError:
            # A concurrent request with the same key was faster: return its response.
            return self._submit(key, sent, what)

    def _submit(self, key: str | None, sent: idempotency.Sent, what: _What) -> Submitted:
        project_pk = self._caller.project_pk
        with self._database.write() as tx:
            if key is not None and (first := idempotency.first_answer(tx, project_pk, key, sent)) is not None:
                return Submitted(first, replayed=True)
            new = what(tx)
            submission = new.submission
            cause = self._by_client(tx, new.why)
            values = job_values(submission, parent_id=new.parent_id)
            cost, runtime = Cost.of([submission.spec]), submission.max_runtime_seconds
            asked = Asked(cost=cost, priority=submission.priority, runtime=runtime)
            [pk] = self._enqueue(tx, [values], cause, asked, priority=submission.priority)
            give_tags(tx, pk, submission.tags)
            if key is not None:
                own = {"project_pk": project_pk, "job_pk": pk}
                idempotency.remember(tx, key, sent, submission, **own, now=cause.at)
            row = self._row(tx, values["id"])
            return Submitted(job_of(row, submission.tags), replayed=False)

    def get(self, job_id: str) -> Job:
        """Return the current state of a job. Raises JobNotFound."""
        with self._read() as tx:
            return self._job(tx, job_id)

    def get_all(self, job_ids: Sequence[str]) -> tuple[Job, ...]:
        """Return the states of these jobs at one moment.

        Raises:
            JobNotFound: a job does not exist; names the first of them.
        """
        with self._read() as tx:
            found = select(jobs).where(self._is_own(jobs), jobs.c.id.in_(map(strip_nul, job_ids)))
            rows = {row.id: row for row in tx.execute(found)}
            ensure_found(job_ids, rows)
            return self._seen(tx, [rows[job_id] for job_id in job_ids])

    def versions(self, job_ids: Sequence[str]) -> Sequence[Version]:
        """Return one version per job, which differs after every change.

        Everything that the store records of a job counts as a change. Raises JobNotFound.
        """
        columns = (jobs.c.version, jobs.c.name, jobs.c.started_at, jobs.c.finished_at)
        with self._read() as tx:
            own = self._is_own(jobs), jobs.c.id.in_(map(strip_nul, job_ids))
            rows = tx.execute(select(jobs.c.id, *columns).where(*own))
            found = {job_id: tuple(values) for job_id, *values in rows}
        ensure_found(job_ids, found)
        return [found[job_id] for job_id in job_ids]

    def list(self, query: JobQuery) -> Page:
        """Return one page of the jobs that match a query.

        Paging from the oldest to the newest misses no job that was submitted before the request for the last page.

        Raises:
            InvalidRequest: the cursor is not from a page of this order.
        """
        settled = self._settled() if query.order == "created_at" else None
        with self._database.read() as tx:
            secret = self._cursor_secret(tx)
            rows = tx.execute(select_jobs(query, self._is_own(jobs), secret, settled=settled)).all()
            shown = rows[: query.limit]
            items = self._seen(tx, shown)
        return Page(items, cursor_behind(shown[-1], query.order, secret) if len(rows) > query.limit else None)

    def cancel(self, job_id: str) -> Job:
        """Cancel a queued or paused job, or request it from the worker.

        Calling it twice is no error.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has already succeeded or failed.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status != JobStatus.CANCELLED:
                cancel_all(tx, [row], self._by_client(tx, "cancelled by its client"))
            return self._job(tx, job_id)

    def pause(self, job_id: str) -> Job:
        """Pause a queued job, or request it from a running job's worker.

        Calling it twice is no error.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has ended, or is about to be cancelled.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status == JobStatus.RUNNING:
                if row.cancel_requested_at is not None:
                    raise InvalidTransition("a running job with a pending cancel request cannot become paused")
                if row.pause_requested_at is None:
                    self._request(tx, row, "pause requested", pause_requested_at=self._now(tx))
            elif row.status != JobStatus.PAUSED:
                change_status(tx, row, JobStatus.PAUSED, self._by_client(tx, "paused by its client"))
            return self._job(tx, job_id)

    def resume(self, job_id: str) -> Job:
        """Requeue a paused job, or withdraw a running job's pause request.

        A paused job resumes from its checkpoint. A job that is not paused is left as it is.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has ended.
        """
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if row.status == JobStatus.RUNNING and row.pause_requested_at is not None:
                self._request(tx, row, "pause withdrawn", pause_requested_at=None, status_reason=None)
            elif row.status not in (JobStatus.QUEUED, JobStatus.RUNNING):
                change_status(tx, row, JobStatus.QUEUED, self._by_client(tx, "resumed by its client"))
            return self._job(tx, job_id)

    def update(self, job_id: str, changes: JobChanges, *, check: Check = None) -> Job:
        """Change a job's editable fields, in any status, if the check passes.

        Raises:
            JobNotFound: there is no such job.
            InvalidRequest: the priority is above the project's highest.
        """
        given = changes.model_dump(exclude_unset=True)
        with self._database.write() as tx:
            row = self._row(tx, job_id, lock=True)
            if check is not None:
                check(self._with_tags(tx, row))
            if "tags" in given:
                given |= replace_tags(tx, row.pk, given.pop("tags"))
            if "priority" in given:
                ensure_priority(limits_of(tx, self._caller.project_pk, self._default_limits), given["priority"])
                given["queue_rank"] = queue.queue_rank(row.created_at, given["priority"])
            if changes.model_fields_set:
                change(tx, row, **given)
            return self._job(tx, job_id)

    def delete(self, job_id: str, *, check: Check = None) -> None:
        """Delete an ended job and all its data, if the check passes.

        Raises:
            JobNotFound: there is no such job.
            InvalidTransition: the job has not ended.
        """
        with self._database.write() as tx:
            lock_sweeps(tx, [self._row(tx, job_id)])
            row = self._row(tx, job_id, lock=True)
            if check is not None:
                check(self._with_tags(tx, row))
            if not JobStatus(row.status).is_terminal:
                raise InvalidTransition(f"a {row.status} job cannot be deleted; cancel it first")
            tx.execute(delete(jobs).where(jobs.c.pk == row.pk))
            after_deletion(tx, [row])

    def events(self, job_id: str) -> tuple[Event, ...]:
        """Return all events of a job, oldest first. Raises JobNotFound."""
        with self._read() as tx:
            row = self._row(tx, job_id)
            found = tx.execute(select(events).where(events.c.job_pk == row.pk).order_by(events.c.pk))
            return tuple(event_of(event) for event in found)

    def curve(
        self,
        job_id: str,
        *,
        granularity: Granularity = "epoch",
        metrics: Sequence[str] | None = None,
        first: int = 0,
        last: int | None = None,
        limit: int,
    ) -> CurvePage:
        """Return at most `limit` curve points with first <= x <= last.

        The points are those with the smallest x. Without `metrics`, all metrics are returned.

        Raises:
            JobNotFound: there is no such job.
            UnknownMetric: the job does not record one of the metrics.
        """
        with self._read() as tx:
            return read_curve(
                tx, self._is_own(jobs), job_id, granularity, metrics=metrics, first=first, last=last, limit=limit
            )

    def curve_heads(self, job_ids: Sequence[str], *, granularity: Granularity) -> Sequence[CurveHead]:
        """Return metrics and lengths of these jobs' curves. Raises JobNotFound."""
        with self._read() as tx:
            return read_heads(tx, self._is_own(jobs), job_ids, granularity)

    def curve_chunks(self, heads: Sequence[CurveHead], *, start: int, end: int) -> Sequence[Sequence[StoredChunk]]:
        """Return each curve's chunks that have any point from number `start` to before `end`.

        The curves are of one experiment.

        Raises:
            JobNotFound: one of the jobs was deleted in the meantime.
        """
        with self._read() as tx:
            return read_chunks(tx, self._is_own(jobs), heads, start=start, end=end)

    def start(self, job_id: str) -> Start | None:
        """Return the figures of a job's network before the first update.

        None if there are none. Raises JobNotFound.
        """
        return self.starts([job_id])[0]

    def starts(self, job_ids: Sequence[str]) -> Sequence[Start | None]:
        """Return the figures of several jobs' networks, as `start` does."""
        with self._read() as tx:
            return read_starts(tx, self._is_own(jobs), job_ids)

    def workers(self) -> Sequence[WorkerInfo]:
        """Return the live workers with the ids of their running jobs.

        Without the scope `admin` the ids are those of the caller's project only, and hosts and pids are None.
        """
        with self._read() as tx:
            alive = leases.alive(tx, self._now(tx), None if self._caller.is_admin else self._is_own(jobs))
        return alive if self._caller.is_admin else [replace(worker, host=None, pid=None) for worker in alive]

    def _settled(self) -> int | None:
        """Return the last job number, once all up to it are committed.

        None on a database that commits the numbers in order.
        """
        with self._database.read() as tx:
            last = numbering.last_number(tx)  # must be read before the open submissions
            submissions = numbering.under_way(tx)
        for process in submissions:
            with self._database.read() as tx:
                numbering.wait_for(tx, process)
        return last

    # Parts of a transaction.

    def _request(self, tx: Connection, row: Row[Any], why: str, **values: Any) -> None:
        """Send a request to a running job's worker, or withdraw it."""
        request_all(tx, [row], self._by_client(tx, why), **values)

    def _job(self, tx: Connection, job_id: str) -> Job:
        return self._seen(tx, [self._row(tx, job_id)])[0]

    def _seen(self, tx: Connection, rows: Sequence[Row[Any]]) -> tuple[Job, ...]:
        """Return jobs with tags; queued ones with position and waiting reason."""
        tags: dict[int, dict[str, str]] = {row.pk: {} for row in rows}
        for tag in tx.execute(select(job_tags).where(job_tags.c.job_pk.in_(tags))):
            tags[tag.job_pk][tag.key] = tag.value
        places = queue.positions(tx, rows)
        means = leases.alive_means(tx, self._now(tx)) if places else ()
        return tuple(
            job_of(row, tags[row.pk])
            if (place := places.get(row.pk)) is None
            else with_queue_position(job_of(row, tags[row.pk]), place, leases.why_waiting(row, place, means))
            for row in rows
        )

    def _with_tags(self, tx: Connection, row: Row[Any]) -> Job:
        tags = tx.execute(select(job_tags.c.key, job_tags.c.value).where(job_tags.c.job_pk == row.pk))
        return job_of(row, {tag.key: tag.value for tag in tags})

    def _row(self, tx: Connection, job_id: str, *, lock: bool = False) -> Row[Any]:
        found = select(jobs).where(self._is_own(jobs), jobs.c.id == strip_nul(job_id))
        row = tx.execute(found.with_for_update() if lock else found).one_or_none()
        if row is None:
            raise JobNotFound(f"there is no job {job_id!a}")
        return row
