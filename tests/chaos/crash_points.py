"""A worker that is gone between one instruction and the next, wherever that may matter."""

import queue
import random
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

import psycopg
from sqlalchemy import make_url

from costcurve.core.job import Job
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import metadata
from tests.chaos.arena import ENGINE, MNIST, NEURON, Arena, held
from tests.chaos.hatchery import (
    AFTER,
    BEFORE,
    CONFIRM_CANCEL,
    CONFIRM_PAUSE,
    CRASHED,
    FINISH,
    HAND_BACK,
    RECORD,
    RECORD_WITH_CHECKPOINT,
    UNCOMMITTED,
    Ask,
    Crash,
    Life,
    hatchery,
)
from tests.chaos.outcome import Outcome
from tests.conftest import local_mnist

SPECS = [
    *({**MNIST, "epochs": 2, "steps_per_epoch": 150, "seed": seed} for seed in range(2)),
    {**NEURON, "init": "normal", "seed": 2, "epochs": 800},
]
# Runs at a time: they wait for the disk as much as for a core.
LANES = 3
# Seconds in which a run is over many times.
_PATIENCE = 200.0


@dataclass(frozen=True)
class Point:
    """Where a worker dies: at a random one of the first `times` times that it comes there."""

    operation: str
    moment: str
    times: int = 1
    # What must be asked for meanwhile, or it would never come there.
    asked: str | None = None

    def __str__(self) -> str:
        return f"{self.operation}, {self.moment}"


def _of_write(operation: str, times: int = 1, asked: str | None = None) -> list[Point]:
    return [Point(operation, moment, times, asked) for moment in (BEFORE, UNCOMMITTED, AFTER)]


POINTS = (
    *_of_write("register_worker"),
    *_of_write("claim", times=2),
    *_of_write(RECORD, times=len(SPECS)),
    *(Point("checkpoint", f"{at}", times=4) for at in ("half written", "before its fsync")),
    *(Point("checkpoint", f"{at} its rename", times=4) for at in (BEFORE, AFTER)),
    # Before it, the checkpoint is there and its pointer is not; after it, the old one is still there.
    *_of_write(RECORD_WITH_CHECKPOINT, times=4),
    Point("remove", AFTER, times=3),
    *_of_write(FINISH, times=3),
    *_of_write("renew_lease", times=4),
    *_of_write(HAND_BACK, asked="stop"),
    *_of_write(CONFIRM_PAUSE, asked="pause"),
    *_of_write(CONFIRM_CANCEL, asked="cancel"),
    *(Point("load", moment) for moment in (BEFORE, AFTER)),
    *_of_write("retire_worker"),
)


def crashes(arena: Arena, *, count: int) -> Outcome:
    """So many crashes, at each point in turn."""
    started = monotonic()
    urls = [_url(arena, f"lane_{number}") for number in range(LANES)]
    _prepare(arena, urls)
    order = arena.random.sample(POINTS, len(POINTS))  # so that a few of them are of all kinds
    log_file = arena.deployment.home / "hatchery.log"
    with (
        hatchery(LANES, database_url=urls[0], data_dir=local_mnist(), log_file=log_file) as lanes,
        ThreadPoolExecutor(LANES) as pool,
    ):
        arena.learn(SPECS)
        free: queue.Queue[tuple[Connection, str]] = queue.Queue()
        for lane in zip(lanes, urls, strict=True):
            free.put(lane)

        def run(number: int) -> tuple[Point, bool, list[str]]:
            lane, url = free.get()
            try:
                _empty(arena, url)
                point = order[number % len(order)]
                return point, *_Run(arena, lane, url, point, seed=number // len(order)).outcome()
            finally:
                free.put((lane, url))

        ran = list(pool.map(run, range(count)))
    missed = Counter(str(point) for point, reached, _ in ran if not reached)
    problems = [f"{point}: {problem}" for point, _, found in ran for problem in found]
    problems += [f"never there in {times} runs: {point}" for point, times in missed.items()]
    points = len({point for point, _, _ in ran})
    took = f"{monotonic() - started:.0f} s"
    return held(problems, points=points, runs=count, crashed_there=count - missed.total(), took=took)


class _Run:
    """A few jobs, and workers of which one dies at a point."""

    def __init__(self, arena: Arena, lane: Connection, url: str, point: Point, *, seed: int) -> None:
        self._arena = arena
        self._lane = lane
        self._url = url
        self._point = point
        self._seed = seed
        self._random = random.Random(f"{point} {seed}")
        self._checkpoints = arena.deployment.home / "hatchery" / secrets.token_hex(8)
        self._database = Database(url)
        self._store = JobStore(self._database)
        self._pack = self._random.choice([1, 3])
        self._problems: list[str] = []

    def outcome(self) -> tuple[bool, list[str]]:
        """Whether a worker died at the point, and everything that should not have happened."""
        try:
            specs = self._random.sample(SPECS, len(SPECS))
            jobs = [
                self._store.submit(Submission.model_validate({"spec": spec, "engine": ENGINE})).job for spec in specs
            ]
            crashed = self._disturb(jobs)
            self._live(jobs)
            cancelled = [job.id for job in jobs if self._was_cancelled(job)]
            others = [job.id for job in jobs if job.id not in cancelled]
            audit = self._arena.auditor.audit
            self._problems += audit(self._database, self._checkpoints, others)
            self._problems += audit(self._database, self._checkpoints, cancelled, ends=[JobStatus.CANCELLED])
            if crashed and (self._point.asked == "cancel") != bool(cancelled):
                self._problems.append(f"{len(cancelled)} jobs were asked to be cancelled")
            return crashed, [f"{problem} (seed {self._seed})" for problem in self._problems]
        finally:
            self._database.close()
            shutil.rmtree(self._checkpoints, ignore_errors=True)

    def _disturb(self, jobs: list[Job]) -> bool:
        """Let workers live up to the crash. Whether it came."""
        point, job_id = self._point, self._random.choice(jobs).id
        crash = Crash(point.operation, point.moment, self._random.randint(1, point.times))
        stop = Ask("stop", job_id, self._random.randint(1, 2))
        if point.operation == "load":
            self._live(jobs, ask=stop)
            return self._live(jobs, crash=crash)
        if point.operation == "retire_worker" and self._seed % 2:
            return self._live(jobs, crash=crash, ask=stop)
        if point.operation == "retire_worker":
            dead = self._life(crash=Crash(RECORD_WITH_CHECKPOINT, AFTER, self._random.randint(1, 4)))
            assert self._ended(dead, jobs) == CRASHED
            crashed = self._ended(self._life(retires=dead.worker_id, crash=crash), jobs) == CRASHED
            self._retire(dead)
            return crashed
        ask = Ask(point.asked, job_id, self._random.randint(1, 2)) if point.asked is not None else None
        return self._live(jobs, crash=crash, ask=ask)

    def _live(self, jobs: list[Job], *, crash: Crash | None = None, ask: Ask | None = None) -> bool:
        """One worker's life; what it leaves is given back, as by a supervisor. Whether it died where it was told to."""
        life = self._life(crash=crash, ask=ask)
        code = self._ended(life, jobs)
        if code == 0:
            return False
        if code != CRASHED:
            self._problems.append(f"a worker ended with exit code {code}")
        self._retire(life)
        return code == CRASHED

    def _life(self, *, crash: Crash | None = None, ask: Ask | None = None, retires: str | None = None) -> Life:
        worker_id = "wrk_" + secrets.token_hex(10)
        return Life(self._url, self._checkpoints, worker_id, self._pack, crash=crash, ask=ask, retires=retires)

    def _retire(self, life: Life) -> None:
        self._store.retire_worker(life.worker_id, reason=f"its worker died (exit code {CRASHED})", crashed=True)

    def _ended(self, life: Life, jobs: list[Job]) -> int:
        """The exit code of this life, which is told to stop when there is nothing left to do."""
        deadline = monotonic() + _PATIENCE
        self._lane.send(life)
        while not self._lane.poll(0.04):
            assert monotonic() < deadline, f"{self._point}, seed {self._seed}: does not end: {life}"
            if self._point.asked == "pause":
                for job in self._store.list(JobQuery(status=(JobStatus.PAUSED,))).items:
                    self._store.resume(job.id)
            ended = self._store.ended([job.id for job in jobs])
            left_behind = self._checkpoints.is_dir() and any(self._checkpoints.iterdir())
            if len(ended) == len(jobs) and not left_behind:
                self._lane.send(None)
        code: int = self._lane.recv()
        return code

    def _was_cancelled(self, job: Job) -> bool:
        return any(event.why == "cancel requested" for event in self._store.events(job.id))


def _url(arena: Arena, name: str) -> str:
    if arena.server is None:
        return f"sqlite:///{arena.deployment.home / name}.db"
    return make_url(arena.database_url).set(database=name).render_as_string(hide_password=False)


def _prepare(arena: Arena, urls: Sequence[str]) -> None:
    """Make these databases, with their tables."""
    for url in urls:
        if arena.server is not None:
            with psycopg.connect(arena.database_url, autocommit=True) as administrator:
                administrator.execute(f"CREATE DATABASE {make_url(url).database}")
        Database(url).close()
        if arena.server is None:
            shutil.copy(_file(url), _file(url).with_suffix(".empty"))


def _empty(arena: Arena, url: str) -> None:
    """Leave nothing of the last run."""
    if arena.server is not None:
        with psycopg.connect(url) as administrator:
            administrator.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY")
        return
    for each in _file(url).parent.glob(f"{_file(url).name}*"):
        each.unlink()
    shutil.copy(_file(url).with_suffix(".empty"), _file(url))


def _file(url: str) -> Path:
    return Path(make_url(url).database or "")
