"""kill -9 a random worker every two seconds while jobs are trained."""

import os
import signal
import threading
from time import monotonic

from sqlalchemy import select

from costcurve.store.schema import attempts, jobs, workers
from costcurve.store.transitions import MAX_CRASHES
from tests.chaos.arena import Arena, held
from tests.chaos.outcome import Outcome
from tests.helpers.processes import until

INTERVAL = 2.0
# Starting one takes longer than the interval: of so many, one or two are always at work.
WORKERS = 4


def solo(arena: Arena, *, count: int) -> Outcome:
    """Every worker has one job in hand."""
    return _killed(arena, count=count, pack=1)


def packed(arena: Arena, *, count: int) -> Outcome:
    """Every worker has up to six jobs in hand."""
    return _killed(arena, count=count, pack=6)


def _killed(arena: Arena, *, count: int, pack: int) -> Outcome:
    arena.learn()
    job_ids = arena.submit(count)
    arena.deployment.start_workers(processes=WORKERS, pack=pack)
    started, kills, spared = monotonic(), 0, 0
    pause = threading.Event()
    while left := arena.left(job_ids):
        pause.wait(INTERVAL)
        # On a slow machine a worker takes longer to start: if all were killed every 2 s, no job would ever end.
        until(lambda: arena.left(job_ids), lambda now, before=left: now < before, timeout=300)
        if not arena.worker_pids():  # all of them are only starting, and have nothing to lose
            continue
        killed = _kill_one(arena)
        kills += killed
        spared += not killed
    problems = arena.audit(job_ids)
    again = arena.count_attempts(job_ids) - count
    seconds = f"{monotonic() - started:.0f} s"
    return held(problems, jobs=count, kills=kills, spared=spared, jobs_trained_again=again, took=seconds)


def _kill_one(arena: Arena) -> bool:
    """Kill a random worker. False: spared, as its job is one crash from failing, which is no fault.

    A job under which its worker dies MAX_CRASHES times in a row counts as the culprit. That this killer hits the same
    job as often by chance is rare, and no loss: the job says so. It is left out here, so that every job must succeed.
    """
    pid = arena.random.choice(arena.worker_pids())
    os.kill(pid, signal.SIGSTOP)  # so that what it has in hand does not change while we look
    with arena.database.read() as tx:
        in_hand = select(jobs.c.crashes).join(attempts, attempts.c.pk == jobs.c.attempt_pk)
        crashes = tx.scalars(
            in_hand.join(workers, workers.c.id == attempts.c.worker_id).where(workers.c.pid == pid)
        ).all()
    if len(crashes) == 1 and crashes[0] + 1 >= MAX_CRASHES:
        os.kill(pid, signal.SIGCONT)
        return False
    os.kill(pid, signal.SIGKILL)
    return True
