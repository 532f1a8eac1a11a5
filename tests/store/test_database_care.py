"""`python -m costcurve.store` and `costcurve db`, as real programs."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from costcurve.store.database import Database
from tests.helpers.processes import Deployment, until


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
    assert again.stderr == f"cannot backup: {file} exists already; a backup never replaces a file\n"


@pytest.mark.slow
def test_migrate_waits_for_a_database_that_comes_up_late(postgresql_url, tmp_path):
    """Its socket is not there yet, as while its server starts."""
    url, late = make_url(postgresql_url), tmp_path / "late"
    with subprocess.Popen(
        [sys.executable, "-m", "costcurve.store", "--wait", "90", "migrate"],
        env={**os.environ, "COSTCURVE_DATABASE_URL": str(url.update_query_dict({"host": str(late)}))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as migrating:
        guard = threading.Timer(120, migrating.kill)
        guard.start()
        assert migrating.stderr.readline().startswith("waiting for the database: the database refused: ")
        late.symlink_to(url.query["host"])
        output, _ = migrating.communicate()
        guard.cancel()

    assert migrating.returncode == 0
    assert output.startswith("migrated: 0001, ")


@pytest.fixture
def roles(postgresql, tmp_path):
    """`stranger` may only read, and `guarded` has a password."""
    folder = Path(make_url(postgresql).query["host"])
    rules = folder / "pg_hba.conf"
    former = rules.read_text()
    with psycopg.connect(postgresql, autocommit=True) as administrator:
        for role in ("stranger", "guarded"):
            administrator.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
        rules.write_text(f"local all guarded scram-sha-256\n{former}")
        administrator.execute("SELECT pg_reload_conf()")
        yield
        rules.write_text(former)
        administrator.execute("SELECT pg_reload_conf()")
        for role in ("stranger", "guarded"):
            administrator.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"database": "unknown"}, 'database "unknown" does not exist'),
        ({"username": "unknown"}, 'role "unknown" does not exist'),
        ({"username": "guarded", "password": "wrong"}, 'password authentication failed for user "guarded"'),
        ({"username": "guarded"}, "no password supplied"),
        ({"username": "stranger"}, "permission denied for schema public"),
        ({"query": {"host": "127.0.0.1", "fruit": "apple"}}, 'invalid connection option "fruit"'),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.usefixtures("roles")
def test_migrate_does_not_wait_where_only_a_person_can_help(postgresql_url, changes, said):
    url = make_url(postgresql_url).set(**changes).render_as_string(hide_password=False)

    failed = costcurve_db(url, "migrate", "--wait", "20")

    assert failed.returncode == 1
    assert failed.stderr.startswith("cannot migrate: the database refused: ")
    assert said in failed.stderr
    assert "waiting" not in failed.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file/costcurve.db", "the folder of the database, {}/file, cannot be created"),
        ("junk.db", "the database refused: file is not a database"),
        ("folder", "the database refused: unable to open database file"),
    ],
)
def test_migrate_does_not_wait_for_a_file_that_can_be_no_database(tmp_path, name, said):
    (tmp_path / "file").touch()
    (tmp_path / "junk.db").write_bytes(b"no database" * 1000)
    (tmp_path / "folder").mkdir()

    failed = costcurve_db(f"sqlite:///{tmp_path}/{name}", "migrate", "--wait", "20")

    assert failed.returncode == 1
    assert failed.stderr.startswith(f"cannot migrate: {said.format(tmp_path)}")


def test_care_of_the_database_needs_neither_training_nor_http():
    heavy = "{'torch', 'numpy', 'fastapi', 'uvicorn'}"
    seen = f"import sys, costcurve.store.__main__; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", seen], text=True) == "[]\n"


def test_programs_make_files_for_their_owner_only(tmp_path):
    """The umask that each program has, workers included, as the kernel tells it."""
    former = os.umask(0o000)
    try:
        with Deployment(tmp_path) as deployment:
            deployment.start_service()
            supervisor = deployment.start_workers()
            workers = until(lambda: children(supervisor.pid), lambda found: found)
            pids = [deployment.service.pid, supervisor.pid, *workers]
            for pid in pids:
                assert until(lambda pid=pid: umask(pid), lambda mask: mask == "0077")
            made = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.glob("costcurve.db*")}
    finally:
        os.umask(former)
    assert made == dict.fromkeys(made, oct(0o600))
    assert "costcurve.db" in made


def umask(pid: int) -> str:
    return re.search(r"^Umask:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
