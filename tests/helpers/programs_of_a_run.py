"""Tests that start one program of each kind, and never end. `test_end_of_run.py` runs them, and ends the run."""

import os
from pathlib import Path
from threading import Event

import psycopg

from tests.helpers.processes import Deployment, until


def test_that_never_ends(run_folder, postgresql, tmp_path):
    with psycopg.connect(postgresql) as connection, Deployment(tmp_path) as deployment:
        deployment.start_service()
        workers = deployment.start_workers()
        log = (tmp_path / "workers.log").read_text
        until(log, lambda text: "is ready on" in text, timeout=200)
        server = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
        pids = [os.getpid(), server, deployment.service.pid, workers.pid]
        pids += [int(pid) for pid in Path(f"/proc/{workers.pid}/task/{workers.pid}/children").read_text().split()]
        ready = Path(os.environ["PIDS_OF_A_RUN"])
        ready.with_suffix(".part").write_text(f"{run_folder}\n{' '.join(map(str, pids))}")
        ready.with_suffix(".part").rename(ready)
        Event().wait()
