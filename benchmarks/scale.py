"""Scale of one PostgreSQL: throughput of workers and the limit of claims.

It measures 1, 2 and 4 workers, and computes how many claims per second the server could take.
"""

import argparse
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psycopg
import record
from sqlalchemy import func, select
from turnaround import database_url, ensure

from costcurve.core.curve import Curve
from costcurve.core.job import EngineChoice, NeuronResult, Progress
from costcurve.core.status import JobStatus
from costcurve.core.sweep import SweepSubmission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.job_update import JobUpdate
from costcurve.store.schema import attempts, jobs, workers
from tests.helpers.processes import Deployment, until

NEURON = {"experiment": "neuron", "loss": "quadratic", "init": "normal"}
NETWORK = {"experiment": "mnist", "epochs": 1, "steps_per_epoch": 1000}
# Name of a load: what is queued, and how many jobs.
LOADS = {
    "neurons, 300 epochs, in packs": ({"spec": NEURON}, 4000),
    "neurons, 300 epochs, one by one": ({"spec": NEURON, "engine": "autograd"}, 400),
    "networks, 1,000 steps and an evaluation": ({"spec": NETWORK}, 400),
}
FLEETS = (1, 2, 4)
CLAIMERS = (1, 2, 4, 8)
POINTS = 301
_spawn = multiprocessing.get_context("spawn")


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the jobs to run, less than 1 for a short run (%(default)g)"
    )
    share = parser.parse_args().share
    fleets = [row for count in FLEETS for row in throughput(count, share)]
    costs = [claiming(count, depth=depth, share=share) for depth in (2_000, 20_000) for count in CLAIMERS]
    largest = max(cost.cpu_seconds for cost in costs)
    text = [
        "PostgreSQL with its default durability (fsync on), on the same machine as the workers.",
        "",
        "Jobs per second of a sweep with warm worker processes, from its submission until the last job has succeeded:",
        "",
        *record.table(["jobs", "workers", "number", "seconds", "jobs per second"], sorted(fleets)),
        "",
        "The same queue without training: each process claims one job, records 301 points with its result, and claims",
        "the next. The CPU time is that of all PostgreSQL processes.",
        "",
        *record.table(
            [
                "queued",
                "processes",
                "jobs per second",
                "PostgreSQL's CPU, ms per job",
                "its share of a core",
                "WAL, KiB per job",
            ],
            [cost.row() for cost in costs],
        ),
        "",
        "**PostgreSQL's limit.** A job that is claimed, recorded and ended in its own transactions takes at most",
        f"{1000 * largest:.2f} ms of PostgreSQL's CPU time in the table above. So one core for PostgreSQL allows about",
        f"{math.floor(1 / largest / 10) * 10:,} claims per second, if its disk keeps up with the commits. (The",
        "claiming processes take most of this machine's two cores, so the limit cannot be reached here. It is computed",
        "from the CPU time.) Packs claim and write many jobs in one transaction, and need a fraction of it per job.",
    ]
    record.write("scale", "Scale", text)


def throughput(count: int, share: float) -> Iterator[list[str]]:
    """Yield the rows of the first table for `count` worker processes."""
    with (
        served() as (url, database, folder),
        Deployment(folder, environment={"COSTCURVE_DATABASE_URL": url}) as deployment,
    ):
        store = JobStore(database)
        supervisor = deployment.start_workers(count)
        until(store.workers, lambda alive: len(alive) == count, timeout=120)
        warm(database, count)
        for name, (body, number) in LOADS.items():
            number = max(int(number * share), count)
            seconds = sweep(database, body, number)
            print(name, count, f"{seconds:.2f} s", flush=True)
            yield [name, str(count), f"{number:,}", f"{seconds:.2f}", f"{number / seconds:,.0f}"]
        deployment.stop(supervisor)


def warm(database: Database, count: int) -> None:
    """Have each worker train a network, to load MNIST and the kernel."""
    served_by: set[str] = set()
    while len(served_by) < count:
        sweep(database, {"spec": NETWORK}, 2 * count)
        with database.read() as tx:
            served_by = set(tx.scalars(select(attempts.c.worker_id)))


def sweep(database: Database, body: dict, number: int) -> float:
    """Return the seconds from a sweep's submission to its last success.

    They are measured by the database's clock.
    """
    submission = SweepSubmission.model_validate({**body, "grid": {"seed": list(range(number))}})
    queued = JobStore(database).submit_sweep(submission).sweep
    own = jobs.c.sweep_id == queued.id

    def left() -> int:
        with database.read() as tx:
            return tx.scalar(select(func.count()).where(own, jobs.c.finished_at.is_(None))) or 0

    until(left, lambda count: count == 0, timeout=600, every=0.05)
    with database.read() as tx:
        failed = tx.scalar(select(func.count()).where(own, jobs.c.status != JobStatus.SUCCEEDED))
        ensure(failed == 0, f"{failed} of {number} jobs did not succeed")
        tries = tx.scalar(select(func.count()).select_from(attempts.join(jobs)).where(own))
        ensure(tries == number, f"{tries} attempts at {number} jobs")
        first, last = tx.execute(select(func.min(jobs.c.created_at), func.max(jobs.c.finished_at)).where(own)).one()
    return (last - first).total_seconds()


@dataclass(frozen=True)
class Cost:
    """Cost to PostgreSQL of a job without any training."""

    queued: int
    claimers: int
    jobs_a_second: float
    cpu_seconds: float
    wal_bytes: float

    def row(self) -> list[str]:
        return [
            f"{self.queued:,}",
            str(self.claimers),
            f"{self.jobs_a_second:,.0f}",
            f"{1000 * self.cpu_seconds:.2f}",
            f"{self.cpu_seconds * self.jobs_a_second:.2f}",
            f"{self.wal_bytes / 1024:.1f}",
        ]


def claiming(count: int, *, depth: int, share: float) -> Cost:
    """Measure `count` processes that claim and end jobs without training.

    The queue starts with `depth` jobs.
    """
    each = max(int(1000 * share) // count, 10)
    with served() as (url, database, folder):
        for _ in range(0, depth, 2_000):
            body = {"spec": NEURON, "grid": {"seed": list(range(2_000))}}
            JobStore(database).submit_sweep(SweepSubmission.model_validate(body))
        barrier = _spawn.Barrier(count + 1)
        claimers = [_spawn.Process(target=claim_and_end, args=(url, f"wrk_{n}", each, barrier)) for n in range(count)]
        for claimer in claimers:
            claimer.start()
        barrier.wait()
        cpu, wal, started = cpu_seconds(folder), wal_position(url), time.perf_counter()
        barrier.wait()
        seconds = time.perf_counter() - started
        done = count * each
        cost = Cost(depth, count, done / seconds, (cpu_seconds(folder) - cpu) / done, (wal_position(url) - wal) / done)
        barrier.wait()
        for claimer in claimers:
            claimer.join()
        with database.read() as tx:
            succeeded = tx.scalar(select(func.count()).where(jobs.c.status == JobStatus.SUCCEEDED))
            ensure(succeeded == done, f"only {succeeded} of {done} jobs succeeded")
            ensure(tx.scalar(select(func.count()).select_from(workers)) == count, f"the store has not {count} workers")
    return cost


def claim_and_end(url: str, worker_id: str, number: int, barrier: Barrier) -> None:
    """Claim and end `number` jobs, one after another."""
    values = [0.5 / (1 + point) for point in range(POINTS)]
    names = ("cost", "output", "weight", "bias", "gradient", "sigmoid_prime", "slowdown_factor")
    curve = Curve(0, dict.fromkeys(names, values))
    result = NeuronResult(final_cost=values[-1], train_seconds=0, final_output=0, final_weight=0, final_bias=0)
    progress = Progress(epoch=300, epochs=300, step=300, steps=300, eta_seconds=0)
    with closing(Database(url)) as database:
        store = JobStore(database)
        store.register_worker(worker_id, host="here", pid=os.getpid(), device="cpu", lease_seconds=3600)
        barrier.wait()
        for _ in range(number):
            [held] = store.claim(
                worker_id, engines=("auto",), devices={"auto": "cpu"}, choose=lambda *_: EngineChoice("autograd", 1)
            )
            [answer] = store.write([JobUpdate(held, progress, curve, outcome=result)])
            ensure(answer is None, answer)
        barrier.wait()
        barrier.wait()  # the CPU time of its connection is counted only while the connection lives


@contextmanager
def served() -> Iterator[tuple[str, Database, Path]]:
    """Yield an empty PostgreSQL database: URL, database, server folder."""
    with (
        tempfile.TemporaryDirectory() as name,
        database_url("PostgreSQL", Path(name)) as url,
        closing(Database(url)) as database,
    ):
        yield url, database, Path(name)


def cpu_seconds(folder: Path) -> float:
    """Return the CPU time of the PostgreSQL server in this folder.

    It includes live processes and those that have ended.
    """
    main = int((folder / "postgresql" / "postmaster.pid").read_text().split()[0])
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat.parent.name) == main:
            ticks += sum(int(field) for field in fields[11:15])  # of itself and of its ended children
        elif int(fields[1]) == main:
            ticks += sum(int(field) for field in fields[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def wal_position(url: str) -> int:
    """Return the number of bytes of write-ahead log written so far."""
    with psycopg.connect(url) as connection:
        [position] = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").fetchone()
    return int(position)


if __name__ == "__main__":
    main()
