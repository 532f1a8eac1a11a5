"""The store as clients use it for sweeps: thousands of jobs submitted, seen, cancelled and retried as one."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Row, delete, func, insert, select
from sqlalchemy.exc import IntegrityError

from costcurve.core.errors import IdempotencyKeyReused, SweepNotFound
from costcurve.core.status import JobStatus
from costcurve.core.sweep import PlannedJob, Sweep, SweepSubmission, planned
from costcurve.store.base import OnDatabase, strip_nul
from costcurve.store.enqueue import enqueue, job_values
from costcurve.store.pagination import CellPage, CellQuery, SweepPage, select_sweeps, sweep_cursor_behind
from costcurve.store.retries import retry_values, revive, supersede
from costcurve.store.schema import jobs, sweeps
from costcurve.store.sweep_leaderboard import read_cells
from costcurve.store.tags import has_shared_tags, share_tags
from costcurve.store.transitions import cancel_all

_ENDED = tuple(status for status in JobStatus if status.is_terminal)
_has_jobs = select(jobs.c.pk).where(jobs.c.sweep_id == sweeps.c.id).exists()


@dataclass(frozen=True, slots=True)
class SubmittedSweep:
    """A sweep that was submitted; `replayed` if it had been before, with the same idempotency key."""

    sweep: Sweep
    replayed: bool


class ForSweeps(OnDatabase):
    """What a client may ask for of many jobs at once."""

    def submit_sweep(self, submission: SweepSubmission, *, idempotency_key: str | None = None) -> SubmittedSweep:
        """Queue all jobs of a sweep, or none; or, if this key has come with the same sweep before, answer as then.

        Raises:
            InvalidRequest: a cell is no job, or there are too many; names each bad field once.
            IdempotencyKeyReused: the key has come with another sweep.
        """
        jobs_of_it = planned(submission)
        try:
            return self._submit_sweep(submission, jobs_of_it, idempotency_key)
        except IntegrityError:
            # The same key came twice at once, and the other was faster: its answer is ours.
            return self._submit_sweep(submission, jobs_of_it, idempotency_key)

    def _submit_sweep(
        self, submission: SweepSubmission, jobs_of_it: Sequence[PlannedJob], key: str | None
    ) -> SubmittedSweep:
        sweep_id, sent = "swp_" + secrets.token_hex(10), submission.model_dump(mode="json")
        # Outside the transaction: nobody has to wait for it.
        values = [
            job_values(job.submission, sweep_id=sweep_id, cell=job.cell, repeat=job.repeat, inherits_tags=True)
            for job in jobs_of_it
        ]
        with self._database.write() as tx:
            if key is not None and (first := _first_answer(tx, key, sent)) is not None:
                return SubmittedSweep(first, replayed=True)
            cause = self._by_client(tx, f"submitted by the sweep {sweep_id}")
            tx.execute(
                insert(sweeps).values(
                    id=sweep_id, name=submission.name, submission=sent, idempotency_key=key, created_at=cause.at
                )
            )
            share_tags(tx, sweep_id, submission.tags)
            enqueue(tx, values, cause, priority=submission.priority)
            return SubmittedSweep(self._sweep(tx, sweep_id), replayed=False)

    def sweep(self, sweep_id: str) -> Sweep:
        """The sweep as it stands. Raises SweepNotFound."""
        with self._database.read() as tx:
            return self._sweep(tx, sweep_id)

    def cells(self, sweep_id: str, query: CellQuery) -> CellPage:
        """The sweep as it stands, and one page of its cells.

        Raises:
            SweepNotFound: there is no such sweep.
            InvalidRequest: it has no such cell, or the cursor is not one that a page of this order gave.
        """
        with self._database.read() as tx:
            return read_cells(tx, self._sweep(tx, sweep_id), query)

    def sweeps(self, *, limit: int = 50, cursor: str | None = None) -> SweepPage:
        """One page of sweeps, the newest first. Raises InvalidRequest for a cursor that no page gave."""
        with self._database.read() as tx:
            rows = tx.execute(select_sweeps(limit, cursor)).all()
            shown = rows[:limit]
            counts = _counts(tx, [row.id for row in shown])
        items = tuple(_sweep_of(row, counts[row.id]) for row in shown)
        return SweepPage(items, sweep_cursor_behind(shown[-1]) if len(rows) > limit else None)

    def cancel_sweep(self, sweep_id: str) -> Sweep:
        """Cancel those of its jobs that wait, and ask the workers of those that run to. Twice the same is no error.

        Raises:
            SweepNotFound: there is no such sweep.
        """
        with self._database.write() as tx:
            # By pk, as all do who lock several jobs, so that no two wait for each other.
            columns: list[Column[Any]] = [jobs.c.pk, jobs.c.status, jobs.c.cancel_requested_at]
            rows = tx.execute(
                select(*columns)
                .where(jobs.c.sweep_id == strip_nul(sweep_id), jobs.c.status.not_in(_ENDED))
                .order_by(jobs.c.pk)
                .with_for_update()
            ).all()
            cancel_all(tx, rows, self._by_client(tx, "cancelled with its sweep"))
            return self._sweep(tx, sweep_id)

    def retry_sweep(self, sweep_id: str) -> Sweep:
        """Queue a new job in place of each that failed, with the same spec; if none has, nothing. It counts instead.

        Raises:
            SweepNotFound: there is no such sweep.
        """
        with self._database.write() as tx:
            # As those who delete jobs of a sweep do: first the sweep, then its jobs by pk, so that no two wait for each
            # other. Of two who retry at once, the second finds the jobs superseded.
            tx.execute(select(sweeps.c.pk).where(sweeps.c.id == strip_nul(sweep_id)).with_for_update())
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
                enqueue(tx, values, cause, priority=submission.priority)
                supersede(tx, failed, [each["id"] for each in values], cause)
            return self._sweep(tx, sweep_id)

    def _sweep(self, tx: Connection, sweep_id: str) -> Sweep:
        row = tx.execute(select(sweeps).where(sweeps.c.id == strip_nul(sweep_id))).one_or_none()
        if row is None:
            raise SweepNotFound(f"there is no sweep {sweep_id!a}")
        return _sweep_of(row, _counts(tx, [sweep_id])[sweep_id])


def lock_sweeps(tx: Connection, to_delete: Sequence[Row[Any]]) -> None:
    """Before jobs, given by their rows, are deleted: of two who delete from a sweep at once, the second sees the rest.

    Before the jobs themselves are locked, so that no two wait for each other.
    """
    if sweep_ids := _sweeps_of(to_delete):
        tx.execute(select(sweeps.c.pk).where(sweeps.c.id.in_(sweep_ids)).order_by(sweeps.c.pk).with_for_update())


def after_deletion(tx: Connection, deleted: Sequence[Row[Any]]) -> None:
    """Bring locked sweeps up to date whose jobs, given by their former rows, were deleted; some may be of no sweep.

    What a deleted job stood in place of counts again. A sweep whose last job it was is forgotten.
    """
    if sweep_ids := _sweeps_of(deleted):
        revive(tx, [row for row in deleted if row.sweep_id is not None])
        tx.execute(delete(sweeps).where(sweeps.c.id.in_(sweep_ids), ~_has_jobs))


def _sweeps_of(rows: Sequence[Row[Any]]) -> set[str]:
    return {row.sweep_id for row in rows if row.sweep_id is not None}


def _first_answer(tx: Connection, key: str, sent: Mapping[str, Any]) -> Sweep | None:
    """The sweep that was made with this key, as the first answer showed it; None if the key is new.

    Raises:
        IdempotencyKeyReused: it was made by another submission.
    """
    found = tx.execute(select(sweeps).where(sweeps.c.idempotency_key == key)).one_or_none()
    if found is None:
        return None
    if found.submission != sent:
        raise IdempotencyKeyReused("this idempotency key came with another sweep; take a new key for a new sweep")
    submission = _submission_of(found)
    return _sweep_of(found, {JobStatus.QUEUED: submission.cells * submission.repeats})


def _counts(tx: Connection, sweep_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {sweep_id: {} for sweep_id in sweep_ids}
    counted = select(jobs.c.sweep_id, jobs.c.status, func.count()).group_by(jobs.c.sweep_id, jobs.c.status)
    newest = jobs.c.sweep_id.in_(sweep_ids), ~jobs.c.superseded
    for sweep_id, status, count in tx.execute(counted.where(*newest)):
        counts[sweep_id][status] = count
    return counts


def _sweep_of(row: Row[Any], counts: Mapping[str, int]) -> Sweep:
    every = {status: counts.get(status, 0) for status in JobStatus}
    return Sweep(id=row.id, submission=_submission_of(row), counts=every, created_at=row.created_at)


def _submission_of(row: Row[Any]) -> SweepSubmission:
    # It was valid when it came in; today's limits are not asked.
    return SweepSubmission.model_construct(**row.submission)
