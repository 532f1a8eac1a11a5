"""The disk of the database is full, while clients submit and jobs are trained; then there is room again."""

from pathlib import Path

import httpx

from tests.chaos.arena import ENGINE, MNIST, NEURON, Arena, held
from tests.chaos.outcome import Outcome
from tests.helpers.processes import until

MOST_SUBMISSIONS = 20_000
# Short ones, since a disk takes hundreds before it is full; with short curves, since those stay.
SPECS = [
    *({**NEURON, "init": "normal", "seed": seed, "epochs": 500} for seed in range(3)),
    {**MNIST, "epochs": 2, "steps_per_epoch": 300},
]


def full(arena: Arena, *, count: int) -> Outcome:
    """Fill the disk and make room again so many times."""
    arena.small = SPECS
    arena.learn()
    arena.deployment.start_workers(processes=2)
    acknowledged: list[str] = []
    problems: list[str] = []
    texts: set[str] = set()
    refused = 0
    with httpx.Client(base_url=arena.deployment.url, timeout=60) as client:
        for _ in range(count):
            acknowledged += arena.submit(4)
            ballast = _fill(arena.disk)
            for _ in range(MOST_SUBMISSIONS):
                answer = client.post("/v1/jobs", json={"spec": arena.random.choice(arena.small), "engine": ENGINE})
                if answer.status_code != httpx.codes.CREATED:
                    break
                acknowledged.append(answer.json()["id"])
            refused += answer.status_code != httpx.codes.CREATED
            problem = answer.json()
            if (problem.get("code"), problem.get("status")) != ("store_unavailable", 503) or "\n" in problem["detail"]:
                problems.append(f"a full disk is answered with {answer.text}")
            texts.add(problem["detail"])
            if client.get(f"/v1/jobs/{acknowledged[0]}").status_code != httpx.codes.OK:
                problems.append("a job cannot be read while the disk is full")
            ballast.unlink()
            back = until(
                lambda: client.post("/v1/jobs", json={"spec": arena.random.choice(arena.small), "engine": ENGINE}),
                lambda found: found.status_code == httpx.codes.CREATED,
            )
            acknowledged.append(back.json()["id"])
            arena.wait(acknowledged, timeout=300 + len(acknowledged))
    problems += arena.audit(acknowledged)
    if arena.server is None:
        with arena.database.read() as tx:
            verdict = tx.exec_driver_sql("PRAGMA integrity_check").scalar()
            if verdict != "ok":
                problems.append(f"integrity_check: {verdict}")
    return held(
        problems, fillings=count, refused=refused, acknowledged=len(acknowledged), text=" / ".join(sorted(texts))
    )


def _fill(disk: Path) -> Path:
    """A file that takes all that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    return ballast
