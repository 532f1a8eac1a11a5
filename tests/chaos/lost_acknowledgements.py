"""PostgreSQL commits, and the connection breaks before the answer: for every kind of transaction, again and again."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from costcurve import Client
from costcurve.core.status import JobStatus
from costcurve.store.schema import attempts, jobs, sweeps
from tests.chaos.arena import ENGINE, MNIST, Arena, held
from tests.chaos.outcome import Outcome
from tests.helpers.lost_answers import KINDS
from tests.helpers.processes import until

# Hours of training: ended by a request.
ENDLESS = {**MNIST, "epochs": 10_000, "steps_per_epoch": 500, "seed": 99}
NEURON = {"experiment": "neuron", "loss": "quadratic", "epochs": 5}
# Of the answers to each kind of transaction: the first is lost, and this share of the others.
SHARE = 0.15
WORKERS = 2
# Jobs of each sweep.
REPEATS = 3
# Seconds for a step of one job. Each lost answer costs a worker half a second, and a registration a new process.
PATIENCE = 120.0


def commits(arena: Arena, *, count: int) -> Outcome:
    """Have so many jobs trained while answers are lost, and as many cancelled, paused, changed, cloned and deleted."""
    arena.learn([*arena.small, *({**NEURON, "seed": seed} for seed in range(REPEATS))])
    arena.losses.lose(_policy(arena))
    workers = arena.deployment.start_workers(processes=WORKERS, pack=3)
    trained: list[str] = []
    cancelled: list[str] = []
    sweep_ids: list[str] = []
    with Client(arena.deployment.url) as client:
        until(lambda: client.ready(timeout=1), bool)
        for number in range(count):
            spec = arena.random.choice(arena.small)
            job = client.submit(spec, engine=ENGINE, name=f"job-{number}")
            trained.append(job.id)
            endless = client.submit(ENDLESS, engine=ENGINE, name=f"endless-{number}", priority=60)
            cancelled.append(endless.id)
            arena.deployment.running(endless.id, timeout=PATIENCE)
            client.pause(endless.id)
            until(
                lambda job_id=endless.id: client.get(job_id).status, lambda status: status == "paused", timeout=PATIENCE
            )
            client.update(endless.id, tags={"number": str(number)})
            client.resume(endless.id)
            threading.Event().wait(arena.random.uniform(0, 0.3))
            client.cancel(endless.id)
            sweep = client.submit_sweep(NEURON, repeats=REPEATS, engine=ENGINE, name=f"sweep-{number}")
            sweep_ids.append(sweep.id)
            trained.append(client.clone(job.id, name=f"clone-{number}").id)
        arena.wait([*trained, *cancelled], timeout=PATIENCE + 20 * count)
        of_sweeps = _jobs_of(arena, sweep_ids)
        arena.wait(of_sweeps, timeout=PATIENCE + 20 * count)
        deleted = [cancelled.pop() for _ in range(0, count, 2)]
        for job_id in deleted:
            client.delete(job_id)
    arena.deployment.stop(workers)
    lost = arena.losses.seen
    problems = [f"no answer was lost of the kind {kind}" for kind in KINDS if not lost[kind]]
    problems += _not_once(arena, count, deleted=len(deleted))
    problems += arena.audit([*trained, *of_sweeps]) + arena.audit(cancelled, ends=[JobStatus.CANCELLED])
    if len(of_sweeps) != REPEATS * count:
        problems.append(f"{len(of_sweeps)} jobs of sweeps, not {REPEATS * count}")
    problems += _false_reports(arena)
    answers = ", ".join(f"{kind} {lost[kind]}" for kind in KINDS)
    return held(problems, jobs=len(trained) + count + len(of_sweeps), lost_answers=lost.total(), of_them=answers)


def _policy(arena: Arena) -> Callable[[str], bool]:
    seen: Counter[str] = Counter()

    def loses(kind: str) -> bool:
        seen[kind] += 1
        return seen[kind] == 1 or arena.random.random() < SHARE

    return loses


def _jobs_of(arena: Arena, sweep_ids: list[str]) -> list[str]:
    with arena.database.read() as tx:
        return list(tx.scalars(select(jobs.c.id).where(jobs.c.sweep_id.in_(sweep_ids))))


def _not_once(arena: Arena, count: int, *, deleted: int) -> list[str]:
    """Submissions that made no job or sweep, or more than one."""
    with arena.database.read() as tx:
        names: Counter[Any] = Counter(tx.scalars(select(jobs.c.name).where(jobs.c.sweep_id.is_(None))))
        swept = Counter(tx.scalars(select(sweeps.c.name)))
    wanted = [f"{what}-{number}" for what in ("job", "clone") for number in range(count)]
    wanted += [f"endless-{number}" for number in range(count - deleted)]
    return [f"{name}: {names[name]} jobs" for name in wanted if names[name] != 1] + [
        f"sweep-{number}: {swept[f'sweep-{number}']} sweeps" for number in range(count) if swept[f"sweep-{number}"] != 1
    ]


def _false_reports(arena: Arena) -> list[str]:
    """Logs that say what is not so, that a result was dropped which the only attempt has; and logs of a defect."""
    home = arena.deployment.home
    told = (home / "workers.log").read_text()
    with arena.database.read() as tx:
        only = tx.scalars(
            select(jobs.c.id)
            .join(attempts, attempts.c.job_pk == jobs.c.pk)
            .where(jobs.c.status == JobStatus.SUCCEEDED)
            .group_by(jobs.c.id)
            .having(func.count() == 1)
        ).all()
    dropped = [job_id for job_id in only if f"{job_id} is no longer this worker's" in told]
    logs = {name: (home / f"{name}.log").read_text() for name in ("service", "workers")}
    return [f"said to be dropped, though it is stored: {job_id}" for job_id in dropped] + [
        f"a traceback in the log of the {name}" for name, text in logs.items() if "Traceback" in text
    ]
