"""How soon the jobs of the dead are back in the queue."""

import os
import signal
import threading
from contextlib import nullcontext, suppress
from time import monotonic
from typing import Any

from sqlalchemy import Row, select, text

from costcurve.core.errors import StoreUnavailable
from costcurve.core.status import JobStatus
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store.schema import attempts, jobs, workers
from tests.chaos.arena import ENGINE, MNIST, Arena, held
from tests.chaos.outcome import Outcome, spread
from tests.helpers.processes import until

# Seconds after which PostgreSQL ends a transaction of ours in which nothing happens (costcurve/store/database.py).
IDLE_SECONDS = 5
# Hours of training.
ENDLESS = {**MNIST, "epochs": 10_000, "steps_per_epoch": 500}
# Seconds within which a job is back: of a worker that died, and of a host that was lost, after its lease.
SAME_HOST_BOUND = 0.5
LOST_HOST_BOUND = 2.0


def dead_workers(arena: Arena, *, count: int) -> Outcome:
    """kill -9 so many workers, each while it trains; its supervisor lives."""
    arena.deployment.start_workers(processes=2)
    job_ids = [arena.deployment.submit({**ENDLESS, "seed": seed}, engine=ENGINE) for seed in range(2)]
    took: list[float] = []
    while len(took) < count:
        # After a crash, a checkpoint makes a job innocent again; until then it is left alone.
        victim = arena.random.choice(until(lambda: _training(arena), bool))
        threading.Event().wait(arena.random.uniform(0, 0.3))
        os.kill(victim.pid, signal.SIGKILL)
        took.append(_until_back(arena, victim, timeout=120))
    return _outcome(arena, job_ids, took, bound=SAME_HOST_BOUND * arena.slack, kills=count)


def lost_hosts(arena: Arena, *, count: int) -> Outcome:
    """kill -9 supervisor and worker at once, so many times; only the service, and a worker elsewhere, live on.

    On PostgreSQL every other one is lost in the middle of a transaction, of which its server hears nothing more.
    """
    lease = float(arena.deployment.environment.get("COSTCURVE_LEASE_SECONDS", LEASE_SECONDS))
    job_ids = [arena.deployment.submit({**ENDLESS, "seed": 0}, engine=ENGINE)]
    arena.deployment.start_workers()  # it has its job and takes no other
    arena.deployment.running(job_ids[0])
    took: list[float] = []
    for number in range(count):
        lost = arena.deployment.submit({**ENDLESS, "seed": number + 1}, engine=ENGINE)
        job_ids.append(lost)
        host = arena.deployment.start_workers()
        arena.deployment.running(lost)
        (victim,) = (row for row in _training(arena) if row.id == lost)
        threading.Event().wait(arena.random.uniform(0, lease / 5))  # the renewals' interval
        in_transaction = arena.server is not None and number % 2 == 0
        # The server has ended the transaction, as it must.
        with suppress(StoreUnavailable), arena.database.write() if in_transaction else nullcontext() as tx:
            if tx is not None:
                # As a program's own: pytest gives the transactions of its process minutes.
                tx.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'"))
                tx.execute(select(workers).where(workers.c.pid == victim.pid).with_for_update())
            os.killpg(host.pid, signal.SIGKILL)
            took.append(_until_back(arena, victim, timeout=3 * lease + 120))
        arena.store.cancel(lost)
    figures = {"lease": f"{lease:g} s", "lost": count}
    return _outcome(arena, job_ids, took, bound=lease + LOST_HOST_BOUND * arena.slack, **figures)


def _training(arena: Arena) -> list[Row[Any]]:
    """Jobs that are being trained, past their first steps here, and by whom."""
    with arena.database.read() as tx:
        return list(
            tx.execute(
                select(jobs.c.id, jobs.c.attempt_pk, workers.c.pid)
                .join(attempts, attempts.c.pk == jobs.c.attempt_pk)
                .join(workers, workers.c.id == attempts.c.worker_id)
                .where(jobs.c.status == JobStatus.RUNNING, jobs.c.crashes == 0, jobs.c.eta_seconds.is_not(None))
            )
        )


def _until_back(arena: Arena, victim: Row[Any], *, timeout: float) -> float:
    """Seconds from now on until the job is no longer the dead worker's."""
    killed = monotonic()

    def holder() -> int | None:
        with arena.database.read() as tx:
            return tx.scalar(select(jobs.c.attempt_pk).where(jobs.c.id == victim.id))

    until(holder, lambda attempt_pk: attempt_pk != victim.attempt_pk, timeout=timeout, every=0.005)
    return monotonic() - killed


def _outcome(arena: Arena, job_ids: list[str], took: list[float], *, bound: float, **figures: object) -> Outcome:
    for job_id in job_ids:
        arena.store.cancel(job_id)
    arena.wait(job_ids, timeout=200)
    problems = arena.audit(job_ids, ends=[JobStatus.CANCELLED])
    problems += [f"back only after {seconds:.2f} s" for seconds in took if seconds > bound]
    return held(problems, **figures, bound=f"{bound:g} s", back_after=spread(took))
