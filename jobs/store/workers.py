"""The store as workers use it.

What a worker writes is fenced: it goes with a claim, and changes nothing (`LaneLost`) once the job is no longer running
under exactly that claim. What it writes about many jobs goes in one transaction, in few statements.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select

from jobs import leases, queue
from jobs.curve_runs import RUNS, cut
from jobs.curves import STEPS_A_POINT
from jobs.errors import LaneLost, WorkerRetired
from jobs.job import Choose, Claim, Request
from jobs.kept import Kept, write_kept
from jobs.lifecycle import JobStatus
from jobs.queue import is_running
from jobs.rows import claim_of, spec_of
from jobs.settings import LEASE_SECONDS
from jobs.store.base import OnDatabase
from jobs.tables import attempts, jobs, workers
from jobs.transitions import Cause, change_all, event, make, moved, write_events
from jobs.turns import answer_to, columns_of, move_of
from jobs.writes import Restart, Write

# What is to be known of a job when something is written about it: not its spec, which takes time to read.
_OWN = (
    *(jobs.c.pk, jobs.c.id, jobs.c.status, jobs.c.attempt_pk, jobs.c.attempt),
    *(jobs.c.cancel_requested_at, jobs.c.pause_requested_at),
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
        self, worker_id: str, *, engines: Collection[str], devices: Mapping[str, str], choose: Choose
    ) -> Sequence[Claim]:
        """Take the first queued job that this worker can train, and as many that can be trained with it as it wants.

        A job goes on from its checkpoint, and from the curve's points up to there; without one, from the start.

        Args:
            worker_id: the incarnation that asks.
            engines: the engines that a job may request ("auto" included).
            devices: the device to use for each device that a job may request.
            choose: the engine to use for a job; its choice for the first says how many are taken.

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
                    at_once = choose(spec_of(head), engine, devices[device]).at_once
                    rows = [head, *queue.take_company(tx, head, at_once - 1)]
                    return self._begin(tx, rows, worker_id, devices[device], choose)
        return []

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
            moves.append(moved(row, JobStatus.RUNNING, Cause(worker_id, now, why), **values))
            held = {"attempt_pk": attempt_pks[row.pk], "worker_id": worker_id}
            claims.append(claim_of(row, spec, choice, device=device, now=now, **held))
        make(tx, moves)
        return claims

    def write(self, writes: Sequence[Write]) -> Sequence[Request | LaneLost | None]:
        """Write down what became of some jobs, each fenced by itself, in one transaction.

        Returns:
            For each, what its client has asked for, if anything; nothing once the job has taken a turn. LaneLost: the
            job is no longer this worker's, and nothing of it was written.
        """
        # Encoded before anything is locked.
        encoded = [Kept.of(write) for write in writes]
        kept, firsts, changes, moves, happened = [], {}, [], [], []
        with self._database.write() as tx:
            own = self._own(tx, [write.claim for write in writes])
            now = self._now(tx)
            for write, row, news in zip(writes, own, encoded, strict=True):
                if row is None:
                    continue
                kept.append(news)
                if isinstance(write.turn, Restart):
                    firsts[row.pk] = 0
                    cause = Cause(write.claim.worker_id, now, write.turn.why)
                    happened.append(event(row.pk, cause, source=row.status, target=row.status))
                move = move_of(row, write, now)
                if move is not None:
                    moves.append(move)
                else:
                    changes.append((row.pk, columns_of(write)))
            for granularity in RUNS:
                cut(tx, granularity, firsts)
            write_kept(tx, kept)
            change_all(tx, changes)
            write_events(tx, happened)
            make(tx, moves)
        return [answer_to(write, row) for write, row in zip(writes, own, strict=True)]

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
