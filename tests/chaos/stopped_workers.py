"""SIGTERM workers under load, again and again; each time their jobs go on with others."""

import threading

from sqlalchemy import func, select

from costcurve.core.status import JobStatus
from costcurve.store.schema import jobs
from tests.chaos.arena import MNIST, Arena, held
from tests.chaos.outcome import Outcome, spread
from tests.chaos.requests import training
from tests.helpers.processes import until

SPECS = [{**MNIST, "epochs": 15, "steps_per_epoch": 1000, "seed": seed} for seed in range(4)]
WORKERS = 2
# Seconds within which workers have ended.
BOUND = 5.0


def terminated(arena: Arena, *, count: int) -> Outcome:
    """Stop the workers so many times, at random moments of training."""
    arena.learn(SPECS)
    job_ids: list[str] = []
    took, problems = [], []
    for number in range(count):
        job_ids += arena.submit(max(WORKERS + 1 - arena.left(job_ids), 0), SPECS)
        workers = arena.deployment.start_workers(processes=WORKERS)
        until(lambda: training(arena), lambda found: len(found) >= WORKERS)
        threading.Event().wait(arena.random.uniform(0, 0.5))
        took.append(arena.deployment.stop(workers))
        if workers.returncode != 0:
            problems.append(f"exit code {workers.returncode} at stop {number}")
        with arena.database.read() as tx:
            held_still = tx.scalar(select(func.count()).select_from(jobs).where(jobs.c.status == JobStatus.RUNNING))
            spent = tx.scalar(select(func.count()).select_from(jobs).where(jobs.c.attempt > 1))
        if held_still or spent:
            problems.append(f"after stop {number}: {held_still} jobs not handed back, {spent} attempts spent")
    arena.deployment.start_workers(processes=WORKERS)
    arena.wait(job_ids, timeout=300)
    problems += arena.audit(job_ids)
    late = [seconds for seconds in took if seconds > BOUND * arena.slack]
    problems += [f"took {seconds:.1f} s" for seconds in late]
    return held(problems, stops=count, jobs=len(job_ids), took=spread(took))
