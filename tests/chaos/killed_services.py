"""kill -9 the service again and again while clients submit with idempotency keys and try again."""

import signal
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy import select

from costcurve import ApiError, Client
from costcurve.store.schema import idempotency_keys, jobs
from tests.chaos.arena import ENGINE, Arena, held
from tests.chaos.outcome import Outcome
from tests.helpers.processes import until

CLIENTS = 8
# Seconds that a new service is left alone.
LONGEST_LIFE = 1.0
SPEC = {"experiment": "neuron", "loss": "quadratic", "epochs": 5}


def submissions(arena: Arena, *, count: int) -> Outcome:
    """So many submissions, each with a key of its own; some are repeated, some come with another body."""
    arena.learn([SPEC])
    arena.deployment.start_workers(processes=1, pack=8)
    reused = {number for number in range(count) if number % 5 == 0}
    over = threading.Event()
    acknowledged: dict[int, list[str]] = {}
    problems: list[str] = []

    def submit(number: int) -> None:
        key = f"key-{number}"
        with Client(arena.deployment.url) as client:
            # A client tries longer with a service that has answered it before.
            until(lambda: client.ready(timeout=1), bool)
            first = client.submit(SPEC, engine=ENGINE, name=key, idempotency_key=key)
            again = client.submit(SPEC, engine=ENGINE, name=key, idempotency_key=key)
            acknowledged[number] = [first.id, again.id]
            if number in reused:
                try:
                    other = client.submit({**SPEC, "seed": 1}, engine=ENGINE, name=key, idempotency_key=key)
                    problems.append(f"{key} with another body made {other.id}")
                except ApiError as refused:
                    if (refused.status, refused.code) != (422, "idempotency_key_reused"):
                        problems.append(f"{key} with another body: {refused.status} {refused.code}")

    kills = 0
    with ThreadPoolExecutor(CLIENTS) as clients:
        waiting: list[Future[None]] = [clients.submit(submit, number) for number in range(count)]
        while not all(each.done() for each in waiting):
            over.wait(arena.random.uniform(0.0, LONGEST_LIFE))
            arena.deployment.service.send_signal(signal.SIGKILL)
            arena.deployment.service.wait()
            kills += 1
            arena.deployment.start_service()
        for each in waiting:
            each.result()
    job_ids = [ids[0] for ids in acknowledged.values()]
    arena.wait(job_ids, timeout=200 + count)
    problems += arena.audit(job_ids) + _not_one_each(arena, acknowledged, count)
    return held(problems, submissions=count, repeated=count, with_another_body=len(reused), kills=kills)


def _not_one_each(arena: Arena, acknowledged: dict[int, list[str]], count: int) -> list[str]:
    """Keys that have not exactly one job, or whose answers named another."""
    with arena.database.read() as tx:
        kept = {
            row.key: row.id
            for row in tx.execute(
                select(idempotency_keys.c.key, jobs.c.id).join(jobs, jobs.c.pk == idempotency_keys.c.job_pk)
            )
        }
        named = Counter(tx.scalars(select(jobs.c.name).where(jobs.c.name.is_not(None))))
    problems = []
    for number in range(count):
        key = f"key-{number}"
        answered = acknowledged.get(number, [])
        if named[key] != 1 or set(answered) != {kept.get(key)}:
            problems.append(f"{key}: {named[key]} jobs; answered {answered}, kept {kept.get(key)}")
    return problems
