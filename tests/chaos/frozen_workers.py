"""Workers that stand still for three leases, and then go on with jobs that are others' by then.

Their supervisor stands still with them, as on a host that sleeps: else it would kill them (hung_workers.py).
"""

import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import Row, func, select

from costcurve.core.errors import StoreUnavailable
from costcurve.store.database import Database
from costcurve.store.schema import attempts, events, jobs, workers
from costcurve.store.transitions import MAX_CRASHES
from tests.chaos.arena import MNIST, Arena, held
from tests.chaos.outcome import Outcome, spread
from tests.helpers.processes import until

LEASE = "COSTCURVE_LEASE_SECONDS"
# Half a second of training each.
SPECS = [{**MNIST, "epochs": 3, "steps_per_epoch": 1000, "seed": seed} for seed in range(3)]
FROZEN_AT_ONCE = 2
# For each of them: one that takes over, and one that may still be starting in the place of the last one.
OTHERS = 2


@dataclass(frozen=True)
class _Frozen:
    """A worker that stands still, with a job in hand."""

    pid: int
    worker_id: str
    job_id: str
    attempt_pk: int
    since: float
    # Whether it stands in the middle of a transaction, whose locks nobody else can get.
    in_transaction: bool


def freezes(arena: Arena, *, count: int) -> Outcome:
    """Freeze workers so many times, a few at once."""
    started = monotonic()
    at_once, frozen_for = min(count, FROZEN_AT_ONCE), 3 * float(arena.deployment.environment[LEASE])
    processes = at_once + OTHERS * at_once
    arena.learn(SPECS)
    supervisor = arena.deployment.start_workers(processes=processes)
    job_ids: list[str] = []
    problems: list[str] = []
    given_up: list[float] = []
    done = in_transaction = 0
    while done < count:
        job_ids += arena.submit(max(2 * processes - arena.left(job_ids), 0), SPECS)
        until(arena.worker_pids, lambda pids: len(pids) >= 2 * at_once, timeout=180)
        os.kill(supervisor.pid, signal.SIGSTOP)
        frozen: list[_Frozen] = []
        while len(frozen) < min(at_once, count - done):
            frozen += _freeze_one(arena, but={each.pid for each in frozen})
        done += len(frozen)
        in_transaction += sum(each.in_transaction for each in frozen)
        # PostgreSQL ends such a transaction; on SQLite nobody can write a thing until the worker itself does.
        stuck = arena.server is None and any(each.in_transaction for each in frozen)
        for each in frozen if not stuck else []:
            until(lambda each=each: _holds(arena, each), lambda holds: not holds, timeout=200, every=0.01)
            given_up.append(monotonic() - each.since)
        for each in frozen if not stuck else []:
            arena.wait([each.job_id], timeout=200)
        threading.Event().wait(max(frozen[-1].since + frozen_for - monotonic(), 0))
        before = {each: _events_by(arena, each) for each in frozen}
        for each in frozen:
            os.kill(each.pid, signal.SIGCONT)
        os.kill(supervisor.pid, signal.SIGCONT)
        if not stuck:
            problems += _problems_of_thawed(arena, before)
    arena.wait(job_ids, timeout=1200)
    problems += arena.audit(job_ids)
    text = _log(arena)()
    return held(
        problems,
        freezes=count,
        frozen_in_a_transaction=in_transaction,
        jobs=len(job_ids),
        writes_refused=text.count("is no longer this worker's"),
        workers_that_ended_as_they_were_given_up=text.count("was given up, since"),
        jobs_with_others_after=spread(given_up),
        took=f"{monotonic() - started:.0f} s",
    )


def _freeze_one(arena: Arena, but: set[int]) -> list[_Frozen]:
    """Stop one worker that has a job in hand; nothing if it has none after all."""
    pid = arena.random.choice([pid for pid in arena.worker_pids() if pid not in but])
    os.kill(pid, signal.SIGSTOP)
    since = monotonic()
    row = _in_hand(arena, pid)
    # The third worker in a row that a job loses would be the job's end, and rightly so.
    if row is None or row.crashes + 1 >= MAX_CRASHES:
        os.kill(pid, signal.SIGCONT)
        threading.Event().wait(0.05)
        return []
    return [_Frozen(pid, row.worker_id, row.id, row.attempt_pk, since, _is_locked(arena, row))]


def _in_hand(arena: Arena, pid: int) -> Row[Any] | None:
    with arena.database.read() as tx:
        return tx.execute(
            select(jobs.c.id, jobs.c.attempt_pk, jobs.c.crashes, attempts.c.worker_id)
            .join(attempts, attempts.c.pk == jobs.c.attempt_pk)
            .join(workers, workers.c.id == attempts.c.worker_id)
            .where(workers.c.pid == pid, workers.c.stopped_at.is_(None))
        ).one_or_none()


def _is_locked(arena: Arena, row: Row[Any]) -> bool:
    """Whether somebody holds, for much longer than any transaction takes, what is needed to take over."""
    database = Database(arena.database_url, lock_timeout=1.0)
    try:
        with database.write() as tx:
            tx.execute(select(workers.c.id).where(workers.c.id == row.worker_id).with_for_update())
            tx.execute(select(jobs.c.id).where(jobs.c.id == row.id).with_for_update())
    except StoreUnavailable:
        return True
    finally:
        database.close()
    return False


def _holds(arena: Arena, frozen: _Frozen) -> bool:
    with arena.database.read() as tx:
        return tx.scalar(select(jobs.c.attempt_pk).where(jobs.c.id == frozen.job_id)) == frozen.attempt_pk


def _events_by(arena: Arena, frozen: _Frozen) -> int:
    with arena.database.read() as tx:
        return tx.scalar(select(func.count()).select_from(events).where(events.c.by == frozen.worker_id)) or 0


def _problems_of_thawed(arena: Arena, before: dict[_Frozen, int]) -> list[str]:
    """They are to notice that they have lost their jobs, and to end, without having changed anything."""
    problems = []
    for frozen, count in before.items():
        # On a busy machine it may not end by itself within two seconds, and is then ended by its lease's thread.
        ends = f"{frozen.worker_id} (was given up, since|hangs: it was given up)"
        until(_log(arena), lambda text, ends=ends: re.search(ends, text), timeout=120)
        if _events_by(arena, frozen) != count:
            problems.append(f"a stale write was accepted: by {frozen.worker_id}, of {frozen.job_id}")
    return problems


def _log(arena: Arena) -> Callable[[], str]:
    return (arena.deployment.home / "workers.log").read_text
