"""Time to submit, read, cancel and retry a sweep of 5,000 jobs.

Each is measured by HTTP.
"""

import argparse
import os
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
from sqlalchemy import bindparam, select, update

from costcurve.core.job import MnistResult
from costcurve.core.status import JobStatus
from costcurve.core.sweep import MAX_SWEEP_JOBS
from costcurve.store.database import Database
from costcurve.store.schema import jobs
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
            rounds = [one_round(http, store) for _ in range(given.rounds)]
        for what in rounds[0]:
            seconds = [each[what] for each in rounds]
            rows.append([name, what, f"{1000 * median(seconds):.0f}", f"{1000 * max(seconds):.0f}"])
    text = [
        f"A sweep of {MAX_SWEEP_JOBS:,} jobs over HTTP, {given.rounds} times on each database. Times include reading "
        "the request, validating every cell, one transaction on disk, and the response. All processes share one core. "
        "The jobs are not trained: between the requests, the benchmark itself sets their rows to succeeded, each with "
        "its own result, and later to failed.",
        "",
        *record.table(["database", "request", "median, ms", "longest, ms"], rows),
    ]
    busy = f"load average over the last five minutes {os.getloadavg()[1]:.1f}, this program included"
    record.write("sweeps", "Sweeps of 5,000 jobs", text, facts={"load": busy})


@contextmanager
def served(store: Database) -> Iterator[httpx.Client]:
    """Yield a client of a service that runs in a thread."""
    # With IPPROTO_TCP, asyncio switches off Nagle's algorithm and sends each response at once.
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


def one_round(http: httpx.Client, store: Database) -> dict[str, float]:
    """Return the seconds that each request took, by name."""
    seconds: dict[str, float] = {}

    def timed(what: str, method: str, path: str, **sent: Any) -> httpx.Response:
        started = perf_counter()
        answer = http.request(method, path, **sent)
        seconds[what] = perf_counter() - started
        answer.raise_for_status()
        return answer

    made = timed("submit", "POST", "/v1/sweeps", json=SWEEP)
    path, sweep_id = made.headers["location"], made.json()["id"]
    timed("list 50 of its jobs", "GET", "/v1/jobs", params={"sweep_id": sweep_id})
    end_all(store, sweep_id, JobStatus.SUCCEEDED)
    timed("get the counts", "GET", path, params={"leaderboard": 0})
    best = timed("get the 10 best cells", "GET", path).json()["leaderboard"]
    timed("get 200 cells", "GET", f"{path}/cells", params={"limit": 200})
    end_all(store, sweep_id, JobStatus.FAILED)
    retried = timed("retry all", "POST", f"{path}/retry").json()
    cancelled = timed("cancel", "POST", f"{path}/cancel").json()
    # The measured requests had their effect.
    assert [cell["figures"]["best_accuracy"]["n"] for cell in best] == [2] * 10  # noqa: S101
    assert retried["counts"]["queued"] == MAX_SWEEP_JOBS  # noqa: S101
    assert cancelled["counts"]["cancelled"] == MAX_SWEEP_JOBS  # noqa: S101
    return seconds


def end_all(store: Database, sweep_id: str, status: JobStatus) -> None:
    """Set all jobs of a sweep to this final status.

    Each gets a result of its own.
    """
    with store.write() as tx:
        pks = tx.scalars(select(jobs.c.pk).where(jobs.c.sweep_id == sweep_id).order_by(jobs.c.pk)).all()
        changes = [
            {"ended_pk": pk, "result": result(9000 + i % 997), "best": 0.9 + i % 997 / 1e4} for i, pk in enumerate(pks)
        ]
        ended = update(jobs).where(jobs.c.pk == bindparam("ended_pk"))
        tx.execute(ended.values(status=status, result=bindparam("result"), best_accuracy=bindparam("best")), changes)


def result(correct: int) -> dict[str, Any]:
    """Return the result of a network that classifies `correct` images correctly."""
    return MnistResult(
        final_cost=0.1,
        train_seconds=1.0,
        final_correct=correct,
        final_accuracy=correct / 10_000,
        test_size=10_000,
        best_correct=correct,
        best_accuracy=correct / 10_000,
        best_epoch=29,
        epochs_trained=30,
        weights_sha256="0" * 64,
    ).model_dump(mode="json")


if __name__ == "__main__":
    main()
