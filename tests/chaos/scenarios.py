"""All scenarios: what each shows, and how much of it is done in full and in short."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.chaos import (
    crash_points,
    frozen_workers,
    full_disk,
    hung_workers,
    killed_services,
    killed_workers,
    lost_acknowledgements,
    recovery,
    requests,
    restarted_database,
    stopped_workers,
)
from tests.chaos.arena import Arena
from tests.chaos.outcome import Outcome


class Run(Protocol):
    """Does something bad `count` times, or to `count` jobs."""

    def __call__(self, arena: Arena, *, count: int) -> Outcome: ...


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    shows: str
    run: Run
    full: int
    short: int
    environment: Mapping[str, str] = field(default_factory=dict)
    # What differs in short.
    in_short: Mapping[str, str] = field(default_factory=dict)
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    # Whether the database lies on a small disk.
    tight: bool = False
    # Whether answers of the database may be lost on their way.
    lossy: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    "killed-workers-solo": Scenario(
        "kill -9 a random worker every 2 s: 0 lost, 0 done twice, everything bit for bit as undisturbed",
        killed_workers.solo,
        full=500,
        short=6,
    ),
    "killed-workers-packed": Scenario(
        "the same, with packs of up to six jobs in a worker", killed_workers.packed, full=500, short=9
    ),
    "killed-services": Scenario(
        "kill -9 the service during keyed submissions that clients retry: every key has exactly one job, none that was "
        "acknowledged is lost, the same key with another body is 422 always",
        killed_services.submissions,
        full=1000,
        short=30,
    ),
    "cancelled-jobs": Scenario(
        "cancel running jobs at random moments: 99 of 100 have ended within 1.0 s, their neighbours are as undisturbed",
        requests.cancels,
        full=200,
        short=4,
    ),
    "paused-jobs": Scenario(
        "pause and resume running jobs at random moments: they end bit for bit as undisturbed",
        requests.pauses,
        full=200,
        short=3,
    ),
    "stopped-workers": Scenario(
        "SIGTERM workers under load: they have ended within 5 s, every job is handed back, no attempt is spent",
        stopped_workers.terminated,
        full=100,
        short=2,
    ),
    "restarted-database": Scenario(
        "stop and start PostgreSQL every 10 s while jobs run: 0 lost, 0 done twice, all at work again within 5 s",
        restarted_database.restarts,
        full=30,
        short=1,
        databases=("postgresql",),
    ),
    # SQLite commits in the very process that hears of it; what happens around a commit there is part of crash-points.
    "lost-acknowledgements": Scenario(
        "commit each kind of transaction (claim, write, submission, request, deletion …) and break the connection "
        "before the answer: 0 lost, 0 done twice, 0 that stand still, and no log says that a stored result was dropped",
        lost_acknowledgements.commits,
        full=40,
        short=2,
        databases=("postgresql",),
        lossy=True,
    ),
    "full-disk": Scenario(
        "the disk of the database is full: 503 with a clear text, nothing acknowledged is lost, no restart needed",
        full_disk.full,
        full=10,
        short=1,
        tight=True,
    ),
    "crash-points": Scenario(
        "a worker is gone at a named point, around each of its writes and in the middle of checkpoints, 20 times each: "
        "0 lost, 0 done twice, all curves and weights as undisturbed",
        crash_points.crashes,
        full=20 * len(crash_points.POINTS),
        short=8,
    ),
    "hung-workers": Scenario(
        "workers hang for good, stopped by SIGSTOP, or in a file system that does not answer: each is ended and "
        "replaced, 0 lost, 0 done twice",
        hung_workers.hangs,
        full=60,
        short=2,
        environment={"COSTCURVE_LEASE_SECONDS": "4"},
    ),
    "frozen-workers": Scenario(
        "SIGSTOP a worker, and its supervisor, for three leases while another finishes its job, then SIGCONT: 0 stale "
        "writes accepted",
        frozen_workers.freezes,
        full=100,
        short=1,
        environment={"COSTCURVE_LEASE_SECONDS": "2"},
        in_short={"COSTCURVE_LEASE_SECONDS": "3"},
    ),
    "dead-workers": Scenario(
        "kill -9 a worker: its job is back in the queue within 0.5 s",
        recovery.dead_workers,
        full=20,
        short=1,
    ),
    "lost-hosts": Scenario(
        "a host is lost with its supervisor: its job is back in the queue within the lease + 2 s",
        recovery.lost_hosts,
        full=5,
        short=1,
        in_short={"COSTCURVE_LEASE_SECONDS": "4"},
    ),
}
