"""Cancel and pause running jobs at random moments, while others are trained on the same workers."""

import threading
from time import monotonic

import httpx

from costcurve.core.status import JobStatus
from costcurve.store.pagination import JobQuery
from tests.chaos.arena import ENGINE, MNIST, SMALL, Arena, held
from tests.chaos.outcome import Outcome, spread
from tests.helpers import plain_http
from tests.helpers.processes import until

# Hours of training, of the same shape as their neighbours.
ENDLESS = {**MNIST, "epochs": 10_000, "steps_per_epoch": 500, "seed": 99}
NEIGHBOURS = [spec for spec in SMALL if spec["experiment"] == "mnist" and "layers" not in spec]
# Seconds within which 99 of 100 cancelled jobs must have ended.
BOUND = 1.0


def cancels(arena: Arena, *, count: int) -> Outcome:
    """Cancel so many running jobs, which share packs with jobs that are left alone."""
    arena.learn(NEIGHBOURS)
    arena.deployment.start_workers(processes=2, pack=3)
    neighbours, took, cancelled = [], [], []
    for number in range(count):
        if number % 2 == 0:
            neighbours += arena.submit(1, NEIGHBOURS)
        victim = arena.deployment.submit(ENDLESS, engine=ENGINE, priority=60)
        cancelled.append(victim)
        arena.deployment.running(victim)
        threading.Event().wait(arena.random.uniform(0, 0.3))
        asked = monotonic()
        plain_http.post(f"{arena.deployment.url}/v1/jobs/{victim}/cancel").raise_for_status()
        until(lambda job_id=victim: arena.left([job_id]), lambda left: left == 0, timeout=120, every=0.005)
        took.append(monotonic() - asked)
    arena.wait(neighbours, timeout=120)
    problems = arena.audit(neighbours) + arena.audit(cancelled, ends=[JobStatus.CANCELLED])
    bound = BOUND * arena.slack
    late = sum(seconds > bound for seconds in took)
    if late > count / 100:
        problems.append(f"{late} of {count} took more than {bound:g} s")
    return held(problems, cancelled=count, neighbours=len(neighbours), took=spread(took))


def pauses(arena: Arena, *, count: int) -> Outcome:
    """Pause so many running jobs at random moments and resume them; they end as if nothing had been."""
    specs = [{**spec, "epochs": 12} for spec in NEIGHBOURS[:3]]
    arena.learn(specs)
    arena.deployment.start_workers(processes=2)
    job_ids, took = [], []
    while len(took) < count:
        job_ids += arena.submit(max(4 - arena.left(job_ids), 0), specs)
        running = until(lambda: training(arena), bool)
        victim = arena.random.choice(running)
        threading.Event().wait(arena.random.uniform(0, 0.3))
        asked = monotonic()
        if plain_http.post(f"{arena.deployment.url}/v1/jobs/{victim}/pause").status_code == httpx.codes.CONFLICT:
            continue  # it has ended meanwhile
        done = until(
            lambda job_id=victim: arena.store.get(job_id).status,
            lambda status: status is JobStatus.PAUSED or status.is_terminal,
            timeout=120,
            every=0.005,
        )
        if done is JobStatus.PAUSED:
            took.append(monotonic() - asked)
            plain_http.post(f"{arena.deployment.url}/v1/jobs/{victim}/resume").raise_for_status()
    arena.wait(job_ids, timeout=1200)
    problems = arena.audit(job_ids)
    bound = BOUND * arena.slack
    late = sum(seconds > bound for seconds in took)
    if late > count / 100:
        problems.append(f"{late} of {count} took more than {bound:g} s")
    return held(problems, pauses=count, jobs=len(job_ids), took=spread(took))


def training(arena: Arena) -> list[str]:
    """The jobs that are being trained at this moment, past their first steps here."""
    running = arena.store.list(JobQuery(status=(JobStatus.RUNNING,))).items
    return [job.id for job in running if job.progress.eta_seconds is not None]
