"""The store as workers use it.

Updates are fenced: an update names its claim, and is refused (`ClaimLost`) once the job no longer runs under exactly
that claim. Updates of many jobs are applied in one transaction, with few statements.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from costcurve.core.curve import STEPS_A_POINT
from costcurve.core.errors import ClaimLost, WorkerRetired
from costcurve.core.job import Choose, Claim, Request
from costcurve.core.status import JobStatus
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store import leases, queue
from costcurve.store.base import OnDatabase
from costcurve.store.curve_chunks import CHUNK_TABLES, cut
from costcurve.store.job_update import (
    EncodedUpdate,
    JobUpdate,
    Restart,
    attempt_outcome,
    plan_status_change,
    progress_values,
    reply_to,
    write_encoded,
)
from costcurve.store.queue import is_running
from costcurve.store.row_mapping import claim_of, profile_of, spec_of
from costcurve.store.schema import attempts, jobs, workers
from costcurve.store.transitions import (
    EventInfo,
    apply_status_changes,
    change_all,
    event,
    plan_transition,
    write_events,
)

# What is to be known of a job when something is written about it: not its spec, which takes time to read.
_OWN = (
    *(jobs.c.pk, jobs.c.id, jobs.c.status, jobs.c.attempt_pk, jobs.c.attempt),
    *(jobs.c.cancel_requested_at, jobs.c.pause_requested_at, jobs.c.checkpoint),
)


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
        """Register a worker incarnation: `worker_id` is fresh at each process start, and part of every claim.

        If the same registration was committed before and its answer was lost, its lease begins again.
        """
        with self._database.write() as tx:
            now = self._now(tx)
            if leases.renew(tx, worker_id, now, lease_seconds):
                return
            values = {"host": host, "pid": pid, "device": device, "engines": " ".join(engines), "started_at": now}
            expires_at = now + timedelta(seconds=lease_seconds)
            tx.execute(insert(workers).values(id=worker_id, heartbeat_at=now, lease_expires_at=expires_at, **values))

    def renew_lease(self, worker_id: str, *, seconds: float) -> bool:
        """Let the worker keep what it has for so many seconds from now on. False: it has been retired."""
        with self._database.write() as tx:
            return leases.renew(tx, worker_id, self._now(tx), seconds)

    def claim(
        self, worker_id: str, *, engines: Collection[str], devices: Mapping[str, str], choose: Choose
    ) -> Sequence[Claim]:
        """Take the first queued job that this worker can train, and as many that can be trained with it as it wants.

        A job resumes from its checkpoint, and from the curve's points up to there; without one, from the start.

        A worker claims only when it holds no job. If jobs run under its id all the same, an earlier claim was committed
        and its answer was lost: that claim is returned again, and no other job is taken.

        Args:
            worker_id: the incarnation that asks; it holds no job.
            engines: the engines that a job may request ("auto" included).
            devices: the device to use for each device that a job may request.
            choose: the engine to use for a job; its choice for the first says how many are taken.

        Raises:
            WorkerRetired: the incarnation has been given up.
        """
        with self._database.read() as tx:  # Idle workers must not keep taking the write lock.
            requests = queue.next_in_line(tx, engines=engines, devices=devices)
            is_in_doubt = leases.holds_jobs(tx, worker_id)
        if not requests and not is_in_doubt:
            return []
        with self._database.write() as tx:
            if not leases.locked(tx, worker_id):
                raise WorkerRetired(f"worker {worker_id} was given up")
            if held := leases.held(tx, worker_id):
                return self._claimed_before(tx, held, worker_id)
            for device, engine in requests:
                head = queue.lock_head(tx, device, engine)
                if head is not None:
                    at_once = choose(spec_of(head), engine, devices[device]).at_once
                    rows = [head, *queue.lock_batch(tx, head, at_once - 1)]
                    return self._begin(tx, rows, worker_id, devices[device], choose)
        return []

    def _claimed_before(self, tx: Connection, rows: Sequence[Row[Any]], worker_id: str) -> Sequence[Claim]:
        """Return once more the claims under which these jobs, locked, run."""
        pks = [row.attempt_pk for row in rows]
        began = {row.pk: row.started_at for row in tx.execute(select(attempts).where(attempts.c.pk.in_(pks)))}
        return [
            claim_of(
                row,
                spec_of(row),
                attempt_pk=row.attempt_pk,
                worker_id=worker_id,
                engine=row.engine,
                device=row.device,
                profile=profile_of(row),
                waited_seconds=_waited(row, began[row.attempt_pk]) if began[row.attempt_pk] == row.started_at else None,
            )
            for row in rows
        ]

    def _begin(
        self, tx: Connection, rows: Sequence[Row[Any]], worker_id: str, device: str, choose: Choose
    ) -> Sequence[Claim]:
        now = self._now(tx)
        begun = [{"job_pk": row.pk, "number": row.attempt, "worker_id": worker_id, "started_at": now} for row in rows]
        made = tx.execute(insert(attempts).returning(attempts.c.job_pk, attempts.c.pk), begun)
        attempt_pks = {attempt.job_pk: attempt.pk for attempt in made}
        begun_before = [row for row in rows if row.started_at is not None]
        cut(tx, "epoch", {row.pk: row.checkpoint_epoch for row in begun_before})
        with_steps = [row for row in begun_before if row.experiment == "mnist"]
        cut(tx, "step", {row.pk: row.checkpoint_step // STEPS_A_POINT for row in with_steps})
        moves, claims = [], []
        for row in rows:
            spec = spec_of(row)
            choice = choose(spec, row.requested_engine, device)
            remark = f", {choice.remark}" if choice.remark is not None else ""
            place = "the beginning" if row.checkpoint is None else f"step {row.checkpoint_step}"
            why = f"attempt {row.attempt}, with {choice.engine} on {device}{remark}, from {place}"
            values = {
                "status_reason": f"trained with {choice.engine}{remark}" if remark else None,
                "attempt_pk": attempt_pks[row.pk],
                "engine": choice.engine,
                "device": device,
                "exec_profile": choice.profile.model_dump() if choice.profile is not None else None,
                "started_at": row.started_at or now,
                "epoch": row.checkpoint_epoch,
                "step": row.checkpoint_step,
                "eta_seconds": None,
            }
            moves.append(plan_transition(row, JobStatus.RUNNING, EventInfo(worker_id, now, why), **values))
            claims.append(
                claim_of(
                    row,
                    spec,
                    attempt_pk=attempt_pks[row.pk],
                    worker_id=worker_id,
                    engine=choice.engine,
                    device=device,
                    profile=choice.profile,
                    waited_seconds=_waited(row, now) if row.started_at is None else None,
                )
            )
        apply_status_changes(tx, moves)
        return claims

    def write(self, writes: Sequence[JobUpdate]) -> Sequence[Request | ClaimLost | None]:
        """Write down what became of some jobs, each fenced by itself, in one transaction.

        Returns:
            For each, what its client has asked for, if anything; nothing once the job has taken a turn, also if this
            very write had been committed before and its answer was lost. ClaimLost: the job is no longer this worker's,
            and nothing of it was written.
        """
        # Encoded before anything is locked.
        encoded = [EncodedUpdate.of(write) for write in writes]
        kept, firsts, changes, moves, happened = [], {}, [], [], []
        with self._database.write() as tx:
            own = self._own(tx, [write.claim for write in writes])
            now = self._now(tx)
            for write, row, news in zip(writes, own, encoded, strict=True):
                if row is None:
                    continue
                kept.append(news)
                if isinstance(write.outcome, Restart):
                    firsts[row.pk] = 0
                    if row.checkpoint is not None:  # else it has been written before, and the answer was lost
                        cause = EventInfo(write.claim.worker_id, now, write.outcome.why)
                        happened.append(event(row.pk, cause, source=row.status, target=row.status))
                move = plan_status_change(row, write, now)
                if move is not None:
                    moves.append(move)
                else:
                    changes.append((row.pk, progress_values(write)))
            for granularity in CHUNK_TABLES:
                cut(tx, granularity, firsts)
            write_encoded(tx, kept)
            change_all(tx, changes)
            write_events(tx, happened)
            apply_status_changes(tx, moves)
            written = self._written_before(tx, [write for write, row in zip(writes, own, strict=True) if row is None])
        return [
            reply_to(write, row, is_written=write.claim.attempt_pk in written)
            for write, row in zip(writes, own, strict=True)
        ]

    # Parts of a transaction.

    def _own(self, tx: Connection, claims: Sequence[Claim]) -> Sequence[Row[Any] | None]:
        """The row of each claim, locked; None if the job is no longer running under this very claim."""
        attempt_pks = [claim.attempt_pk for claim in claims]
        found: Select[Any] = select(*_OWN).where(jobs.c.attempt_pk.in_(attempt_pks), is_running)
        # In a fixed order, so that those who lock several jobs do not wait for each other in a circle.
        rows = tx.execute(found.order_by(jobs.c.pk).with_for_update()).all()
        # By its id too: SQLite gives the numbers of deleted rows to new ones.
        own = {(row.attempt_pk, row.id): row for row in rows}
        return [own.get((claim.attempt_pk, claim.job_id)) for claim in claims]

    def _written_before(self, tx: Connection, writes: Sequence[JobUpdate]) -> set[int]:
        """Return those attempts, of claims that hold no job, which ended exactly as these writes would end them."""
        # Each attempt by the id of its job, too: SQLite gives the numbers of deleted rows to new ones.
        ends = {(write.claim.attempt_pk, write.claim.job_id): attempt_outcome(write) for write in writes}
        if not any(ends.values()):
            return set()
        found = (
            select(attempts.c.pk, jobs.c.id, attempts.c.outcome)
            .join(jobs, jobs.c.pk == attempts.c.job_pk)
            .where(attempts.c.pk.in_([pk for pk, _ in ends]), attempts.c.ended_at.is_not(None))
        )
        return {row.pk for row in tx.execute(found) if ends.get((row.pk, row.id)) == row.outcome}


def _waited(row: Row[Any], claimed_at: datetime) -> float:
    """Return the seconds from the submission of a job to this claim."""
    waited: timedelta = claimed_at - row.created_at
    return waited.total_seconds()
