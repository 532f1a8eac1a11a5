"""A deployment on one database, jobs whose undisturbed results are known, and the audit of what became of them."""

import os
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select

from costcurve.core.spec import spec_hash
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.schema import attempts, jobs
from tests.chaos.auditor import Auditor
from tests.chaos.outcome import Outcome
from tests.helpers import reaper
from tests.helpers.lost_answers import Losses, proxied
from tests.helpers.postgresql import PostgresServer, postgresql_server
from tests.helpers.processes import Deployment, is_running, until

# By name, and not the fastest: trainings must last long enough for something to happen to them.
ENGINE = "autograd"
NEURON = {"experiment": "neuron", "loss": "quadratic"}
MNIST = {"experiment": "mnist", "loss": "cross_entropy"}
# Some tenths of a second of training each, of a few shapes.
SMALL = (
    *({**NEURON, "init": "normal", "seed": seed, "epochs": 1000 + 3000 * seed} for seed in range(4)),
    *({**MNIST, "epochs": 2, "steps_per_epoch": 500 + 250 * seed, "seed": seed} for seed in range(6)),
    *({**MNIST, "layers": [784, 12, 10], "epochs": 3, "steps_per_epoch": 700, "seed": seed} for seed in range(3)),
)
# Several times what the scenario keeps: when the ballast has gone there is room again.
DISK_MEGABYTES = 64


class Arena:
    """Where a scenario takes place. Its randomness is seeded; how fast the processes are is not."""

    def __init__(
        self,
        deployment: Deployment,
        database_url: str,
        *,
        seed: int,
        server: PostgresServer | None = None,
        disk: Path | None = None,
        slack: float = 1.0,
        auditor: Auditor | None = None,
    ) -> None:
        self.deployment = deployment
        self.database_url = database_url
        self.random = random.Random(seed)
        # What is submitted when it does not matter what.
        self.small: Sequence[dict[str, Any]] = SMALL
        # The PostgreSQL server, of this arena alone; None on SQLite.
        self.server = server
        # Where the database lies, if that is a small disk of its own.
        self.disk = disk
        # Which answers are lost between the database and the programs, where there is something in between.
        self.losses = Losses()
        # A factor on all bounds in seconds. They hold as they are where nothing else runs.
        self.slack = slack
        self.database = Database(database_url)
        self.store = JobStore(self.database)
        # One that is given may have learnt in other arenas: what a spec comes to is the same everywhere.
        self.auditor = auditor or Auditor()

    def learn(self, specs: Sequence[dict[str, Any]] | None = None) -> None:
        """Train each spec once that is not known, undisturbed, with workers of their own that then end."""
        submissions = [Submission.model_validate({"spec": spec, "engine": ENGINE}) for spec in specs or self.small]
        unknown = [each for each in submissions if not self.auditor.knows(spec_hash(each.spec))]
        if not unknown:
            return
        workers = self.deployment.start_workers(processes=2)
        ids = [self.store.submit(each).job.id for each in unknown]
        for job_id in ids:
            self.deployment.ended(job_id, timeout=500)
            self.auditor.learn(self.store, job_id)
        self.deployment.stop(workers)

    def submit(self, count: int, specs: Sequence[dict[str, Any]] | None = None) -> list[str]:
        """Queue so many jobs, each of a spec that has been learnt."""
        chosen = [self.random.choice(specs or self.small) for _ in range(count)]
        return [self.deployment.submit(spec, engine=ENGINE) for spec in chosen]

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
        return [pid for pid in pids if is_running(pid)]

    def audit(self, job_ids: Sequence[str], *, ends: Sequence[JobStatus] = (JobStatus.SUCCEEDED,)) -> list[str]:
        """Everything that is not as if nothing had gone wrong: lost, done twice, or other than undisturbed."""
        checkpoints = self.deployment.home / "checkpoints"
        return self.auditor.audit(self.database, checkpoints, job_ids, ends=ends)

    def count_attempts(self, job_ids: Sequence[str]) -> int:
        """Claims of all these jobs together."""
        with self.database.read() as tx:
            rows = tx.execute(select(jobs.c.id).join(attempts, attempts.c.job_pk == jobs.c.pk))
            return sum(row.id in set(job_ids) for row in rows)


@contextmanager
def arena(
    kind: str,
    mnist_dir: Path | None,
    *,
    seed: int,
    environment: Mapping[str, str] | None = None,
    tight: bool = False,
    lossy: bool = False,
    slack: float = 1.0,
    auditor: Auditor | None = None,
) -> Iterator[Arena]:
    """An arena on an empty database of this kind, `sqlite` or `postgresql`, with a service that is ready.

    If it is to be `tight`, the database lies on a small disk of its own, `Arena.disk`. If it is to be `lossy`, which
    takes PostgreSQL, its programs reach the database through a proxy that loses answers, as `Arena.losses` says.
    """
    losses = Losses()
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", dir=os.environ.get(reaper.MARK)) as folder,
        _small_disk(Path(folder)) if tight else nullcontext() as disk,
        _database(kind, Path(folder), disk) as (url, server),
        proxied(url, losses) if lossy else nullcontext(url) as programs_url,
    ):
        home = Path(folder) / "home"
        home.mkdir()
        with Deployment(home, mnist_dir, {"COSTCURVE_DATABASE_URL": programs_url, **(environment or {})}) as deployment:
            ground = Arena(deployment, url, seed=seed, server=server, disk=disk, slack=slack, auditor=auditor)
            ground.losses = losses
            try:
                deployment.start_service()
                yield ground
            finally:
                ground.database.close()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk can only be made by root, where mounting is allowed")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextmanager
def _database(kind: str, folder: Path, disk: Path | None) -> Iterator[tuple[str, PostgresServer | None]]:
    if kind == "sqlite":
        yield f"sqlite:///{disk or folder}/costcurve.db", None
        return
    with postgresql_server(folder / "pg") as server:
        if disk is None:
            yield server.url(), server
            return
        if server.account is not None:
            shutil.chown(disk, server.account)
        with psycopg.connect(server.url(), autocommit=True) as administrator:
            # The log stays on the large disk: without it, the server itself would go down.
            administrator.execute(f"CREATE TABLESPACE tight LOCATION '{disk}'")
            administrator.execute("CREATE DATABASE tight TABLESPACE tight")
        yield server.url("tight"), server


def held(problems: list[str], **figures: object) -> Outcome:
    """The outcome with these figures."""
    return Outcome({name.replace("_", " "): str(value) for name, value in figures.items()}, problems)
