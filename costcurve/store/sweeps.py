"""The store's methods for sweeps: thousands of jobs handled as one."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from costcurve.core.errors import IdempotencyKeyReused, SweepNotFound
from costcurve.core.status import JobStatus
from costcurve.core.sweep import PlannedJob, Sweep, SweepSubmission, planned
from costcurve.store.admission import Asked, Cost, Queueing
from costcurve.store.base import strip_nul
from costcurve.store.enqueue import Values, job_values
from costcurve.store.pagination import CellPage, CellQuery, SweepPage, select_sweeps, sweep_cursor_behind
from costcurve.store.retries import retry_values, revive, supersede
from costcurve.store.row_mapping import sweep_of, sweep_rows, sweep_submission_of
from costcurve.store.schema import jobs, sweeps
from costcurve.store.sweep_leaderboard import read_cells
from costcurve.store.tags import has_shared_tags, share_tags
from costcurve.store.transitions import cancel_all

_ENDED = tuple(status for status in JobStatus if status.is_terminal)
_has_jobs = select(jobs.c.pk).where(jobs.c.sweep_id == sweeps.c.id).exists()


@dataclass(frozen=True, slots=True)
class SubmittedSweep:
    """A submitted sweep; `replayed` if its idempotency key was used before."""

    sweep: Sweep
    replayed: bool


class ForSweeps(Queueing):
    """Store methods for sweeps, which clients call through the service."""

    def submit_sweep(self, submission: SweepSubmission, *, idempotency_key: str | None = None) -> SubmittedSweep:
        """Queue all jobs of a sweep, or none of them.

        If the key has come with the same sweep before, the first response is returned again.

        Raises:
            InvalidRequest: a cell is no valid job, or there are too many; names each bad field once.
            IdempotencyKeyReused: the key has come with another sweep.
        """
        jobs_of_it = planned(submission)
        try:
            return self._submit_sweep(submission, jobs_of_it, idempotency_key)
        except IntegrityError:
            # A concurrent request with the same key was faster: return its response.
            return self._submit_sweep(submission, jobs_of_it, idempotency_key)

    def _submit_sweep(
        self, submission: SweepSubmission, jobs_of_it: Sequence[PlannedJob], key: str | None
    ) -> SubmittedSweep:
        sweep_id = new_sweep_id()
        # Outside the transaction, so that no other writer waits for it.
        values = values_of(sweep_id, jobs_of_it)
        asked = Asked(
            cost=cost_of(jobs_of_it),
            priority=submission.priority,
            runtime=submission.max_runtime_seconds,
            cells=submission.cells,
            cells_at="/grid" if submission.grid else "/variants",
        )
        with self._database.write() as tx:
            if (
                key is not None
                and (first := _first_answer(tx, self._is_own(sweeps), key, _sent(submission))) is not None
            ):
                return SubmittedSweep(first, replayed=True)
            self._queue_sweep(tx, sweep_id, submission, values, asked, key)
            return SubmittedSweep(self._sweep(tx, sweep_id), replayed=False)

    def sweep(self, sweep_id: str) -> Sweep:
        """Return the current state of a sweep. Raises SweepNotFound."""
        with self._read() as tx:
            return self._sweep(tx, sweep_id)

    def cells(self, sweep_id: str, query: CellQuery) -> CellPage:
        """Return the sweep's current state and one page of its cells.

        Raises:
            SweepNotFound: there is no such sweep.
            InvalidRequest: a cell does not exist, or the cursor is not from a page of this order.
        """
        with self._read() as tx:
            return read_cells(tx, self._sweep(tx, sweep_id), query)

    def sweeps(self, *, limit: int = 50, cursor: str | None = None) -> SweepPage:
        """Return one page of sweeps, the newest first.

        Raises:
            InvalidRequest: the cursor is not from a page of sweeps.
        """
        with self._read() as tx:
            secret = self._cursor_secret(tx)
            rows = tx.execute(select_sweeps(self._is_own(sweeps), secret, limit, cursor)).all()
            shown = rows[:limit]
            counts = _counts(tx, [row.id for row in shown])
        items = tuple(sweep_of(row, counts[row.id]) for row in shown)
        return SweepPage(items, sweep_cursor_behind(shown[-1], secret) if len(rows) > limit else None)

    def cancel_sweep(self, sweep_id: str) -> Sweep:
        """Cancel the sweep's queued and paused jobs; request it for running ones.

        Calling it twice is no error.

        Raises:
            SweepNotFound: there is no such sweep.
        """
        with self._database.write() as tx:
            # By pk, like every lock on several jobs, to avoid deadlocks.
            columns: list[Column[Any]] = [jobs.c.pk, jobs.c.status, jobs.c.cancel_requested_at]
            rows = tx.execute(
                select(*columns)
                .where(self._is_own(jobs), jobs.c.sweep_id == strip_nul(sweep_id), jobs.c.status.not_in(_ENDED))
                .order_by(jobs.c.pk)
                .with_for_update()
            ).all()
            cancel_all(tx, rows, self._by_client(tx, "cancelled with its sweep"))
            return self._sweep(tx, sweep_id)

    def retry_sweep(self, sweep_id: str) -> Sweep:
        """Queue a new job with the same spec for each failed one.

        The new job counts in place of the failed one. If none has failed, nothing is queued.

        Raises:
            SweepNotFound: there is no such sweep.
        """
        with self._database.write() as tx:
            # First the sweep, then its jobs by pk, as in deletions, to avoid deadlocks. Of two concurrent retries, the
            # second finds the jobs superseded.
            self._lock_sweep(tx, sweep_id)
            submission = self._sweep(tx, sweep_id).submission
            failed = tx.execute(
                select(jobs)
                .where(jobs.c.sweep_id == sweep_id, ~jobs.c.superseded, jobs.c.status == JobStatus.FAILED)
                .order_by(jobs.c.pk)
                .with_for_update()
            ).all()
            if failed:
                cause = self._by_client(tx, f"submitted by a retry of the sweep {sweep_id}")
                values = [retry_values(row, submission) for row in failed]
                if not has_shared_tags(tx, sweep_id):
                    share_tags(tx, sweep_id, submission.tags)
                self._enqueue(tx, values, cause, Asked(), priority=submission.priority)
                supersede(tx, failed, [each["id"] for each in values], cause)
            return self._sweep(tx, sweep_id)

    # Parts of a transaction.

    def _sweep(self, tx: Connection, sweep_id: str) -> Sweep:
        """Return the current state of a sweep. Raises SweepNotFound."""
        own = self._is_own(sweeps), sweeps.c.id == strip_nul(sweep_id)
        row = tx.execute(sweep_rows.where(*own)).one_or_none()
        if row is None:
            raise SweepNotFound(f"there is no sweep {sweep_id!a}")
        return sweep_of(row, _counts(tx, [sweep_id])[sweep_id])

    def _lock_sweep(self, tx: Connection, sweep_id: str) -> None:
        own = self._is_own(sweeps), sweeps.c.id == strip_nul(sweep_id)
        tx.execute(select(sweeps.c.pk).where(*own).with_for_update())

    def _queue_sweep(
        self,
        tx: Connection,
        sweep_id: str,
        submission: SweepSubmission,
        values: Sequence[Values],
        asked: Asked,
        key: str | None,
    ) -> None:
        """Insert a sweep and queue its jobs, which `values_of` describes."""
        cause, project_pk = self._by_client(tx, submitted_by(sweep_id)), self._caller.project_pk
        origin = {"project_pk": project_pk, "idempotency_key": key, "created_at": cause.at}
        row = {"id": sweep_id, "name": submission.name, "submission": _sent(submission), **origin}
        tx.execute(insert(sweeps).values(row))
        share_tags(tx, sweep_id, submission.tags)
        self._enqueue(tx, values, cause, asked, priority=submission.priority)


def new_sweep_id() -> str:
    """Return an id for a new sweep."""
    return "swp_" + secrets.token_hex(10)


def submitted_by(sweep_id: str) -> str:
    """Return the reason of a job's first event."""
    return f"submitted by the sweep {sweep_id}"


def values_of(sweep_id: str, planned_jobs: Iterable[PlannedJob]) -> list[Values]:
    """Return the columns of a sweep's new jobs."""
    return [
        job_values(job.submission, sweep_id=sweep_id, cell=job.cell, repeat=job.repeat, inherits_tags=True)
        for job in planned_jobs
    ]


def cost_of(planned_jobs: Iterable[PlannedJob]) -> Cost:
    """Return the estimated cost of a sweep's new jobs."""
    return Cost.of([job.submission.spec for job in planned_jobs])


def as_submitted(row: Row[Any], repeats: int | None = None) -> Sweep:
    """Return the sweep of one of `sweep_rows` as the first response showed it.

    `repeats` is the number at its submission if it has been extended since.
    """
    submission = sweep_submission_of(row)
    if repeats is not None:
        submission = submission.model_copy(update={"repeats": repeats})
    sweep = sweep_of(row, {JobStatus.QUEUED: submission.cells * submission.repeats})
    link = None if sweep.trial is None else replace(sweep.trial, look=1)
    return replace(sweep, submission=submission, trial=link)


def lock_sweeps(tx: Connection, to_delete: Sequence[Row[Any]]) -> None:
    """Lock the sweeps of these jobs, which are about to be deleted.

    Call it before locking the jobs: sweeps first, then jobs, avoids deadlocks. Of two concurrent deletions from a
    sweep, the second then sees the jobs that the first has left.
    """
    if sweep_ids := _sweeps_of(to_delete):
        tx.execute(select(sweeps.c.pk).where(sweeps.c.id.in_(sweep_ids)).order_by(sweeps.c.pk).with_for_update())


def after_deletion(tx: Connection, deleted: Sequence[Row[Any]]) -> None:
    """Update the locked sweeps after these jobs of theirs were deleted.

    A job that a deleted one had superseded counts again. A sweep without jobs is deleted. Jobs of no sweep, given by
    their former rows like the others, are ignored.
    """
    if sweep_ids := _sweeps_of(deleted):
        revive(tx, [row for row in deleted if row.sweep_id is not None])
        tx.execute(delete(sweeps).where(sweeps.c.id.in_(sweep_ids), ~_has_jobs))


def _sweeps_of(rows: Sequence[Row[Any]]) -> set[str]:
    return {row.sweep_id for row in rows if row.sweep_id is not None}


def _first_answer(tx: Connection, own: ColumnElement[bool], key: str, sent: Mapping[str, Any]) -> Sweep | None:
    """Return the sweep of the project that was made with this key; None if it is new.

    The sweep is returned as the first response showed it.

    Raises:
        IdempotencyKeyReused: the key came with another sweep.
    """
    found = tx.execute(sweep_rows.where(own, sweeps.c.idempotency_key == key)).one_or_none()
    if found is None:
        return None
    if found.trial_job_id is not None or found.submission != sent:
        raise IdempotencyKeyReused("this idempotency key belongs to another sweep; use a new key for a new sweep")
    return as_submitted(found)


def _counts(tx: Connection, sweep_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {sweep_id: {} for sweep_id in sweep_ids}
    counted = select(jobs.c.sweep_id, jobs.c.status, func.count()).group_by(jobs.c.sweep_id, jobs.c.status)
    newest = jobs.c.sweep_id.in_(sweep_ids), ~jobs.c.superseded
    for sweep_id, status, count in tx.execute(counted.where(*newest)):
        counts[sweep_id][status] = count
    return counts


def _sent(submission: SweepSubmission) -> dict[str, Any]:
    """Return the content of a submission, to store and to compare with later ones.

    Without variants it is that of a version that had none, so that keys of both versions mean the same.
    """
    return submission.model_dump(mode="json", exclude=None if submission.variants else {"variants"})
