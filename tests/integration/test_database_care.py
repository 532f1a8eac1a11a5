"""`python -m jobs` and `costcurve db`, as real programs."""

import os
import subprocess
import sys
import threading

import psycopg
import pytest
from sqlalchemy import make_url

from jobs.database import Database


def costcurve_db(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "costcurve", "db", *arguments],
        env={**os.environ, "COSTCURVE_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.empty_database
def test_the_command_line_migrates_backs_up_and_restores(database_url, tmp_path):
    file = tmp_path / "backup.db"

    for command in (["migrate", "--wait", "5"], ["backup", str(file)], ["restore", str(file)]):
        done = costcurve_db(database_url, *command)
        assert done.returncode == 0, done.stderr

    database = Database(f"sqlite:///{file}")
    assert database.applied == ()
    database.close()
    again = costcurve_db(database_url, "backup", str(file))
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == f"cannot backup: {file} exists already; a backup never replaces anything\n"


@pytest.mark.slow
def test_migrate_waits_for_a_database_that_comes_up_late(postgresql):
    name = f"late_{os.getpid()}"
    url = make_url(postgresql).set(database=name).render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-m", "jobs", "--wait", "90", "migrate"],
        env={**os.environ, "COSTCURVE_DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as migrating:
        guard = threading.Timer(120, migrating.kill)
        guard.start()
        assert migrating.stderr.readline().startswith("waiting for the database: the database refused: ")
        with psycopg.connect(postgresql, autocommit=True) as administrator:
            administrator.execute(f"CREATE DATABASE {name}")
            output, _ = migrating.communicate()
            guard.cancel()
            administrator.execute(f"DROP DATABASE {name}")

    assert migrating.returncode == 0
    assert output.startswith("migrated: 0001, ")


def test_care_of_the_database_needs_neither_training_nor_http():
    seen = "import sys, jobs.__main__; print(sorted({'torch', 'numpy', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", seen], text=True) == "[]\n"
