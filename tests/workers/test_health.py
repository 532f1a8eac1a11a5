"""What `python -m workers.health` answers to a container's health check."""

import socket
import sys

import pytest
from sqlalchemy import text

from costcurve.store import JobStore
from workers import health


@pytest.fixture
def store(opened, database_url, monkeypatch) -> JobStore:
    """The store that the check looks into, by the database's own clock."""
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", database_url)
    return JobStore(opened())


def exit_code() -> int:
    with pytest.raises(SystemExit) as ended:
        sys.exit(health.main())
    return ended.value.code


def test_it_is_healthy_where_a_worker_of_this_host_holds_a_lease(store, capsys):
    store.register_worker("wrk_1", host=socket.gethostname(), pid=1, device="cpu")

    assert exit_code() == 0
    assert capsys.readouterr().out == f"workers alive on {socket.gethostname()}: 1\n"


def test_workers_of_other_hosts_and_workers_that_have_ended_are_no_sign_of_life(store):
    store.register_worker("wrk_1", host="elsewhere", pid=1, device="cpu")
    store.register_worker("wrk_2", host=socket.gethostname(), pid=1, device="cpu")
    store.retire_worker("wrk_2", reason="its worker died", crashed=True)

    assert exit_code() == 1


def test_it_makes_no_database(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", f"sqlite:///{tmp_path}/new/costcurve.db")

    assert exit_code() == 1
    assert "there is no database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.empty_database
def test_it_migrates_no_database(monkeypatch, capsys, database_url, opened):
    """That of a newer version would do so before the workers of this one are replaced."""
    database = opened()
    with database.write() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '0010'"))
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", database_url)

    assert exit_code() == 1
    assert "the database lacks the migrations 0011" in capsys.readouterr().err
    assert database.missing_migrations()[-1] == "0011"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://nobody@127.0.0.1:9/none", "the database refused"),
        ("mysql://here/there", "COSTCURVE_DATABASE_URL"),
    ],
)
def test_without_a_store_it_is_unhealthy_and_says_why(monkeypatch, capsys, url, says):
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", url)

    assert exit_code() == 1
    assert says in capsys.readouterr().err
