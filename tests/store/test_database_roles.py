"""deploy/postgres/roles.sh: the owner migrates, and the application's role can do nothing but use the tables."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import inspect, make_url, text

from costcurve.core.errors import StoreUnavailable
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.database import Database
from tests.conftest import ROOT
from tests.helpers.postgresql import PostgresServer, postgresql_database, postgresql_server
from tests.helpers.reports import CPU, ENGINES, choose

SCRIPT = ROOT / "deploy" / "postgres" / "roles.sh"
PASSWORDS = {"OWNER": "an owner's 'password'", "APP": 'an "application" \\ $(password)'}


@pytest.fixture(scope="module")
def server(run_folder) -> Iterator[PostgresServer]:
    """A server of its own, since roles belong to all databases of a server."""
    with postgresql_server(run_folder / "pg-roles") as server:
        yield server


@pytest.fixture
def admin_url(server) -> Iterator[str]:
    with postgresql_database(server.url()) as url:
        yield url


def create_roles(server: PostgresServer, url: str, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the script with psql of the tests' own PostgreSQL."""
    environment = {"PATH": f"{server.programs}{os.pathsep}{os.environ['PATH']}"}
    for role, password in PASSWORDS.items():
        (folder / role).write_text(password)
        environment[f"{role}_PASSWORD_FILE"] = str(folder / role)
    return subprocess.run(
        ["sh", str(SCRIPT), url], env=environment | changes, capture_output=True, text=True, timeout=60, check=False
    )


def url_of(role: str, url: str) -> str:
    return str(make_url(url).set(username=role))


def test_the_owner_migrates_and_the_application_uses_tables_that_it_can_neither_create_nor_change(
    server, admin_url, tmp_path
):
    assert create_roles(server, admin_url, tmp_path).stderr == ""
    with closing(Database(url_of("costcurve_owner", admin_url))) as owner:
        assert owner.applied
    with closing(Database(url_of("costcurve_app", admin_url))) as application:
        application.ensure_ready()
        store = JobStore(application)
        job = store.submit(Submission.model_validate({"preset": "neuron-good-start"})).job
        store.register_worker("wrk_1", host="here", pid=1, device="cpu")
        [claim] = store.claim("wrk_1", engines=ENGINES, devices=CPU, choose=choose())
        assert claim.job_id == job.id
        with application.read() as connection:
            assert "jobs" in inspect(connection).get_table_names()
            owned = "SELECT relname FROM pg_class WHERE relowner = 'costcurve_app'::regrole"
            assert connection.execute(text(owned)).all() == []

    with psycopg.connect(url_of("costcurve_app", admin_url), autocommit=True) as connection:
        for statement in (
            "CREATE TABLE other (pk int)",
            "CREATE TEMPORARY TABLE other (pk int)",
            "CREATE SCHEMA other",
            "ALTER TABLE jobs ADD COLUMN other int",
            "DROP TABLE jobs CASCADE",
            "TRUNCATE jobs CASCADE",
            "SET ROLE costcurve_owner",
            "CREATE ROLE other",
            "COPY jobs TO '/tmp/jobs'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_application_says_who_migrates_a_database_without_tables(server, admin_url, tmp_path):
    create_roles(server, admin_url, tmp_path)

    with pytest.raises(StoreUnavailable) as refused:
        Database(url_of("costcurve_app", admin_url))
    assert "permission denied" in refused.value.detail
    assert "run `python -m costcurve.store migrate` as the role that owns its tables" in refused.value.detail
    assert refused.value.permanent


def test_an_older_installations_tables_get_the_owner_and_a_second_run_the_new_passwords(server, admin_url, tmp_path):
    Database(admin_url).close()
    assert create_roles(server, admin_url, tmp_path).stderr == ""
    assert create_roles(server, admin_url, tmp_path).stderr == ""

    with psycopg.connect(admin_url) as connection:
        owners = connection.execute("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'").fetchall()
        verifiers = connection.execute(
            "SELECT rolname, rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname LIKE 'costcurve%'"
        ).fetchall()
    assert owners == [("costcurve_owner",)]
    assert sorted(verifiers) == [("costcurve_app", True), ("costcurve_owner", True)]


def test_without_a_password_it_changes_nothing_and_names_the_variable(server, admin_url, tmp_path):
    (tmp_path / "empty").touch()
    refused = create_roles(server, admin_url, tmp_path, APP_PASSWORD_FILE=str(tmp_path / "empty"))

    assert refused.returncode == 1
    assert refused.stderr == f"APP_PASSWORD_FILE: {tmp_path / 'empty'} is missing or empty\n"
