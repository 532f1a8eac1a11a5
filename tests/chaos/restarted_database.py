"""PostgreSQL is stopped, or killed, and started again every ten seconds while jobs run."""

import threading
from time import monotonic

from sqlalchemy import func, select

from costcurve.store.schema import jobs
from tests.chaos.arena import Arena, held
from tests.chaos.outcome import Outcome, spread
from tests.chaos.requests import training
from tests.helpers import plain_http
from tests.helpers.processes import until

INTERVAL = 10.0
# Seconds within which everybody is at work again.
BOUND = 5.0


def restarts(arena: Arena, *, count: int) -> Outcome:
    """Restart it so many times; every third time without telling it before."""
    arena.learn()
    arena.deployment.start_workers(processes=2)
    job_ids: list[str] = []
    back, problems = [], []
    pause = threading.Event()
    for number in range(count):
        job_ids += arena.submit(max(40 - arena.left(job_ids), 0))
        until(lambda: training(arena), bool)
        began = monotonic()
        if number % 3 == 2:
            arena.server.crash()
        else:
            arena.server.stop()
        pause.wait(arena.random.uniform(0.2, 4.0))
        arena.server.start()
        accepting = monotonic()
        before = _writes(arena)
        until(lambda: _is_ready(arena), bool, timeout=120)
        until(lambda: _writes(arena), lambda writes, seen=before: writes > seen, timeout=120)
        back.append(monotonic() - accepting)
        pause.wait(max(began + INTERVAL - monotonic(), 0))
    arena.wait(job_ids, timeout=1200)
    problems += arena.audit(job_ids) + [
        f"{seconds:.1f} s until all worked again" for seconds in back if seconds > BOUND * arena.slack
    ]
    return held(problems, restarts=count, jobs=len(job_ids), back_at_work=spread(back))


def _is_ready(arena: Arena) -> bool:
    return plain_http.get(f"{arena.deployment.url}/readyz", timeout=30).is_success


def _writes(arena: Arena) -> int:
    """Grows with everything that a worker writes."""
    with arena.database.read() as tx:
        return tx.execute(select(func.sum(jobs.c.version))).scalar_one()
