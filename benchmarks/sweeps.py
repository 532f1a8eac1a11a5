"""How long it takes to queue a sweep of 5,000 jobs, to look at it, and to cancel it, by HTTP."""

import argparse
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import record
import uvicorn
from claims import database, postgresql, sqlite

from jobs.database import Database
from jobs.sweeps import MAX_SWEEP_JOBS
from service.app import create_app

SWEEP = {
    "spec": {"experiment": "mnist"},
    "grid": {
        "learning_rate": [rate / 1000 for rate in range(1, MAX_SWEEP_JOBS // 4 + 1)],
        "loss": ["quadratic", "cross_entropy"],
    },
    "repeats": 2,
    "tags": {"of": "benchmark"},
}


def main() -> None:
    """Measure on SQLite and on PostgreSQL, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    rows = []
    for name, opened in (("sqlite", sqlite), ("postgresql", postgresql)):
        with opened("sweeps") as url, database(url) as store, served(store) as http:
            rounds = [one_round(http) for _ in range(given.rounds)]
        for what in rounds[0]:
            seconds = [each[what] for each in rounds]
            rows.append([name, what, f"{1000 * median(seconds):.0f}", f"{1000 * max(seconds):.0f}"])
    text = [
        f"A sweep of {MAX_SWEEP_JOBS:,} jobs, {given.rounds} times on each database, by HTTP: reading the request, "
        "validating every cell, one transaction on the disk, and the answer. All processes share one core.",
        "",
        *record.table(["database", "what", "median, ms", "longest, ms"], rows),
    ]
    record.write("sweeps", "Sweeps of 5,000 jobs", text)


@contextmanager
def served(store: Database) -> Iterator[httpx.Client]:
    """A client of a service on this database, which runs in a thread."""
    # Told that it is TCP, asyncio sends each answer at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(create_app(store), log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as http:
        yield http
    server.should_exit = True
    thread.join()


def one_round(http: httpx.Client) -> dict[str, float]:
    """Seconds that each request took."""
    seconds: dict[str, float] = {}

    def timed(what: str, method: str, path: str, **sent: Any) -> httpx.Response:
        started = perf_counter()
        answer = http.request(method, path, **sent)
        seconds[what] = perf_counter() - started
        answer.raise_for_status()
        return answer

    made = timed("submit", "POST", "/v1/sweeps", json=SWEEP)
    timed("look", "GET", made.headers["location"])
    timed("list 50 of its jobs", "GET", "/v1/jobs", params={"sweep_id": made.json()["id"]})
    cancelled = timed("cancel", "POST", f"{made.headers['location']}/cancel").json()
    assert cancelled["counts"]["cancelled"] == MAX_SWEEP_JOBS  # noqa: S101 - what was measured happened
    return seconds


if __name__ == "__main__":
    main()
