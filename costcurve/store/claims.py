"""The store's methods for workers: register, renew, claim and update.

Updates are fenced: an update names its claim and is refused (`ClaimLost`) once the job no longer runs under exactly
that claim. Updates of many jobs are applied in one transaction, with few statements.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from costcurve.core.curve import STEPS_A_POINT
from costcurve.core.errors import ClaimLost, WorkerRetired
from costcurve.core.job import Claim, EngineSelector, Request
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

# The columns that an update needs of its job. The spec is left out, as it takes time to read.
_OWN = (
    *(jobs.c.pk, jobs.c.id, jobs.c.status, jobs.c.attempt_pk, jobs.c.attempt),
    *(jobs.c.cancel_requested_at, jobs.c.pause_requested_at, jobs.c.checkpoint),
)


class ForWorkers(OnDatabase):
    """Store methods for workers: registration, leases, claims and job updates."""

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
        """Register a worker incarnation; its lease begins now.

        `worker_id` is new at each process start and part of every claim. If the same registration was committed before
        and its response was lost, its lease is renewed.
        """
        with self._database.write() as tx:
            now = self._now(tx)
            if leases.renew(tx, worker_id, now, lease_seconds):
                return
            values = {"host": host, "pid": pid, "device": device, "engines": " ".join(engines), "started_at": now}
            expires_at = now + timedelta(seconds=lease_seconds)
            tx.execute(insert(workers).values(id=worker_id, heartbeat_at=now, lease_expires_at=expires_at, **values))

    def renew_lease(self, worker_id: str, *, seconds: float) -> bool:
        """Extend the worker's lease; return False if it has been retired.

        The lease then ends `seconds` from now, or later if it already did.
        """
        with self._database.write() as tx:
            return leases.renew(tx, worker_id, self._now(tx), seconds)

    def claim(
        self, worker_id: str, *, engines: Collection[str], devices: Mapping[str, str], choose: EngineSelector
    ) -> Sequence[Claim]:
        """Claim the first suitable queued job and others to train with it.

        The first job is of the project with the fewest running jobs. The others may be of any project: the order of the
        queue decides.

        A job resumes from its checkpoint and keeps the curve's points up to there. Without a checkpoint it starts from
        step 0.

        A worker claims only when it holds no job. If jobs run under its id all the same, an earlier claim was committed
        and its response was lost: that claim is returned again, and no other job is taken.

        Args:
            worker_id: the worker incarnation; it holds no job.
            engines: the engine requests that the worker accepts ("auto" included).
            devices: the device to use for each device that a job may request.
            choose: chooses the engine for a job; its choice for the first job limits how many are claimed.

        Raises:
            WorkerRetired: the incarnation has been retired.
        """
        with self._database.read() as tx:  # Idle workers must not keep taking the write lock.
            heads = queue.next_in_line(tx, engines=engines, devices=devices)
            is_in_doubt = leases.holds_jobs(tx, worker_id)
        if not heads and not is_in_doubt:
            return []
        with self._database.write() as tx:
            if not leases.locked(tx, worker_id):
                raise WorkerRetired(f"worker {worker_id} was given up")
            if held := leases.held(tx, worker_id):
                return self._claimed_before(tx, held, worker_id)
            for head in heads:
                first = queue.lock_head(tx, head)
                if first is not None:
                    device = devices[head.device]
                    at_once = choose(spec_of(first), head.engine, device).at_once
                    rows = [first, *queue.lock_batch(tx, first, at_once - 1)]
                    return self._begin(tx, rows, worker_id, device, choose)
        return []

    def _claimed_before(self, tx: Connection, rows: Sequence[Row[Any]], worker_id: str) -> Sequence[Claim]:
        """Return again the claims under which these locked jobs run."""
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
        self, tx: Connection, rows: Sequence[Row[Any]], worker_id: str, device: str, choose: EngineSelector
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
        """Apply job updates in one transaction, each fenced by its claim.

        Returns:
            For each update, the client's pending request for the job, if any. None if the update has an outcome, also
            if it was committed before and its response was lost. ClaimLost if the job no longer runs under this claim;
            nothing of that update was written.
        """
        # Encoded before any row is locked.
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
                    if row.checkpoint is not None:  # else it was written before, and the response was lost
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
        """Lock and return the job row of each claim.

        None for a claim under which its job no longer runs.
        """
        attempt_pks = [claim.attempt_pk for claim in claims]
        found: Select[Any] = select(*_OWN).where(jobs.c.attempt_pk.in_(attempt_pks), is_running)
        # By pk, like every lock on several jobs, to avoid deadlocks.
        rows = tx.execute(found.order_by(jobs.c.pk).with_for_update()).all()
        # By its id too: SQLite gives the numbers of deleted rows to new ones.
        own = {(row.attempt_pk, row.id): row for row in rows}
        return [own.get((claim.attempt_pk, claim.job_id)) for claim in claims]

    def _written_before(self, tx: Connection, writes: Sequence[JobUpdate]) -> set[int]:
        """Return the attempts that already ended as these updates would end them.

        The claims of these updates hold no job any more.
        """
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
    """Return the seconds from the job's submission to this claim."""
    waited: timedelta = claimed_at - row.created_at
    return waited.total_seconds()
