"""All scenarios: what each shows, and how much of it is done in full and in short."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.chaos import killed_workers
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
    databases: tuple[str, ...] = ("sqlite", "postgresql")


SCENARIOS: Mapping[str, Scenario] = {
    "killed-workers-solo": Scenario(
        "kill -9 a random worker every 2 s: 0 lost, 0 done twice, everything bit for bit as undisturbed",
        killed_workers.solo,
        full=500,
        short=8,
    ),
    "killed-workers-packed": Scenario(
        "the same, with packs of up to six jobs in a worker", killed_workers.packed, full=500, short=12
    ),
}
