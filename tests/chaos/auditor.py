"""What jobs come to when nothing disturbs them, and the search for everything that is otherwise."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from costcurve.core.curve import Curve
from costcurve.core.job import Job
from costcurve.core.status import JobStatus
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.schema import attempts, events, jobs
from tests.helpers.processes import until

# Points of a curve.
_ALL = 1 << 30
# Seconds that a dead worker's successor takes to start, with its backoff, on a busy machine.
_SWEPT_WITHIN = 60.0


@dataclass(frozen=True)
class Undisturbed:
    """What a spec comes to when nothing disturbs it."""

    curve: Curve
    result: dict[str, Any]


class Auditor:
    """Learns from undisturbed jobs; audits others, on whatever database."""

    def __init__(self) -> None:
        self._undisturbed: dict[str, Undisturbed] = {}

    def knows(self, spec_hash: str) -> bool:
        """Return True if a job of this spec has been learnt."""
        return spec_hash in self._undisturbed

    def learn(self, store: JobStore, job_id: str) -> None:
        """This job was not disturbed: others of its spec must come to the same."""
        job = store.get(job_id)
        assert job.status is JobStatus.SUCCEEDED, job
        self._undisturbed[job.spec_hash] = Undisturbed(store.curve(job_id, limit=_ALL).curve, _without_time(job))

    def audit(
        self,
        database: Database,
        checkpoints: Path,
        job_ids: Sequence[str],
        *,
        ends: Sequence[JobStatus] = (JobStatus.SUCCEEDED,),
    ) -> list[str]:
        """Everything that is not as if nothing had gone wrong: lost, done twice, or other than undisturbed."""
        store = JobStore(database)
        problems = []
        for job_id in job_ids:
            job = store.get(job_id)
            if job.status not in ends:
                problems.append(f"lost: {job_id} is {job.status} ({job.status_reason})")
            elif job.status is JobStatus.SUCCEEDED:
                undisturbed = self._undisturbed[job.spec_hash]
                if _whole_curve(store, job_id) != undisturbed.curve:
                    problems.append(f"other curve: {job_id}")
                if _without_time(job) != undisturbed.result:
                    problems.append(f"other result: {job_id}")
        problems += _done_twice(database, set(job_ids)) + _broken_histories(database, set(job_ids))
        return problems + _left_behind(store, checkpoints, set(job_ids))


def _left_behind(store: JobStore, checkpoints: Path, job_ids: set[str]) -> list[str]:
    """Return the checkpoints of jobs that ended and that no worker removes.

    A worker that dies leaves some. The one that replaces it sweeps them up as soon as it is ready.
    """

    def left() -> list[str]:
        return [
            path.name
            for path in checkpoints.glob("*")
            if path.name in job_ids and store.get(path.name).status is JobStatus.SUCCEEDED
        ]

    try:
        until(left, lambda names: not names, timeout=_SWEPT_WITHIN)
    except AssertionError:
        return [f"left behind: a checkpoint of {name}" for name in left()]
    return []


def _whole_curve(store: JobStore, job_id: str) -> Curve | None:
    try:
        return store.curve(job_id, limit=_ALL).curve
    except ValueError:  # it has a gap
        return None


def _done_twice(database: Database, job_ids: set[str]) -> list[str]:
    ended = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
    with database.read() as tx:
        outcomes = tx.execute(
            select(jobs.c.id).join(attempts, attempts.c.job_pk == jobs.c.pk).where(attempts.c.outcome == "succeeded")
        ).all()
        endings = tx.execute(
            select(jobs.c.id).join(events, events.c.job_pk == jobs.c.pk).where(events.c.to_status.in_(ended))
        ).all()
    results = Counter(row.id for row in outcomes if row.id in job_ids)
    ends = Counter(row.id for row in endings if row.id in job_ids)
    return [f"done {count} times: {job_id}" for job_id, count in results.items() if count > 1] + [
        f"ended {count} times: {job_id}" for job_id, count in ends.items() if count > 1
    ]


def _broken_histories(database: Database, job_ids: set[str]) -> list[str]:
    """Jobs whose events do not follow from each other, up to their present status; and attempts that never end."""
    with database.read() as tx:
        rows = tx.execute(
            select(jobs.c.id, jobs.c.status, events.c.from_status, events.c.to_status)
            .join(events, events.c.job_pk == jobs.c.pk)
            .order_by(events.c.pk)
        ).all()
        held = select(jobs.c.attempt_pk).where(jobs.c.attempt_pk.is_not(None))
        endless = tx.execute(
            select(jobs.c.id)
            .join(attempts, attempts.c.job_pk == jobs.c.pk)
            .where(attempts.c.ended_at.is_(None), attempts.c.pk.not_in(held))
        ).all()
    problems = [f"an attempt without an end: {row.id}" for row in endless if row.id in job_ids]
    last: dict[str, str | None] = dict.fromkeys(job_ids)
    present: dict[str, str] = {}
    for row in rows:
        if row.id in job_ids:
            if row.from_status != last[row.id]:
                problems.append(f"a gap in its history: {row.id}")
            last[row.id], present[row.id] = row.to_status, row.status
    return problems + [
        f"a wrong end of its history: {job_id}" for job_id, status in present.items() if status != last[job_id]
    ]


def _without_time(job: Job) -> dict[str, Any]:
    assert job.result is not None
    return {**job.result.model_dump(), "train_seconds": None}
