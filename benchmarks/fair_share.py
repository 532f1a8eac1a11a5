"""Claims a second with 100,000 queued jobs of 1 project and of 300 projects.

A worker claims one job and ends it, without training; then the next. `--before FOLDER` measures another checkout of
CostCurve, too, which may be older than projects.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import record
from sqlalchemy import insert, select
from turnaround import database_url, ensure

from costcurve.core.job import EngineChoice, NeuronResult
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.job_update import JobUpdate
from costcurve.store.schema import jobs

DATABASES = ("SQLite", "PostgreSQL")
PROJECTS = (1, 300)
QUEUED = 100_000
CLAIMS, ROUNDS = 200, 5
RESULT = NeuronResult(final_cost=0.1, train_seconds=0, final_output=0, final_weight=0, final_bias=0)
ENGINES = ("auto", "autograd", "fused_cpu", "neuron_pack")


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="checkout to compare with")
    parser.add_argument(
        "--one", nargs=3, metavar=("DATABASE", "PROJECTS", "ORDER"), help="measure one row and print it"
    )
    arguments = parser.parse_args()
    if arguments.one:
        kind, projects, order = arguments.one
        print(f"{claims_a_second(kind, int(projects), order):.1f}")
        return
    rows = []
    for kind in DATABASES:
        before = None if arguments.before is None else measured(kind, 1, "mixed", folder=arguments.before)
        if before is not None:
            rows.append([kind, "before", "1", "–", f"{before:,.0f}", ""])
        for projects, order in ((1, "mixed"), (300, "mixed"), (300, "blocks")):
            speed = measured(kind, projects, order, folder=Path(__file__).parent.parent)
            share = "" if before is None else f"{speed / before:.2f}"
            rows.append([kind, "after", str(projects), order, f"{speed:,.0f}", share])
            print(rows[-1], flush=True)
    text = [
        f"{QUEUED:,} queued neurons; one worker claims one job and ends it, {CLAIMS} times; the median of {ROUNDS}",
        "rounds on one database. `mixed`: the projects submitted in turns; `blocks`: one after the other.",
        "",
        *record.table(["database", "version", "projects", "order", "claims a second", "of before"], rows),
    ]
    record.write("fair_share", "Fair share between projects", text)


def measured(kind: str, projects: int, order: str, *, folder: Path) -> float:
    """Return claims a second with the code of a checkout, measured in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, str(projects), order]
    path = f"{folder}{os.pathsep}{Path(__file__).parent.parent}"
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def claims_a_second(kind: str, projects: int, order: str) -> float:
    """Return the median of the rounds."""
    with queue_of(kind, projects, order) as store:
        store.register_worker("wrk_1", host="here", pid=1, device="cpu", lease_seconds=3600)
        claim_and_end(store, CLAIMS)
        rounds = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            claim_and_end(store, CLAIMS)
            rounds.append(CLAIMS / (time.perf_counter() - started))
    return statistics.median(rounds)


def claim_and_end(store: JobStore, number: int) -> None:
    """Claim and end jobs, one after the other."""
    for _ in range(number):
        [held] = store.claim(
            "wrk_1", engines=ENGINES, devices={"auto": "cpu", "cpu": "cpu"}, choose=lambda *_: EngineChoice("autograd")
        )
        [answer] = store.write([JobUpdate(held, outcome=RESULT)])
        ensure(answer is None, answer)


@contextmanager
def queue_of(kind: str, projects: int, order: str) -> Iterator[JobStore]:
    """Yield a store with the queued jobs: copies of one that was submitted, with other ids, owners and ranks."""
    with (
        tempfile.TemporaryDirectory() as name,
        database_url(kind, Path(name)) as url,
        closing(Database(url)) as database,
    ):
        store = JobStore(database)
        store.submit(Submission.model_validate({"spec": {"experiment": "neuron"}}))
        with database.write() as tx:
            first = dict(tx.execute(select(jobs)).mappings().one())
            del first["pk"]
            for start in range(0, QUEUED, 5_000):
                copies = [{**first, "id": f"job_{i}", "queue_rank": float(i)} for i in range(start, start + 5_000)]
                for i, copy in enumerate(copies, start):
                    if "project_pk" in copy:
                        copy["project_pk"] = 1 + (i % projects if order == "mixed" else i * projects // QUEUED)
                tx.execute(insert(jobs), copies)
        with database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE" if kind == "PostgreSQL" else "SELECT 1")
            connection.commit()
        yield store


if __name__ == "__main__":
    main()
