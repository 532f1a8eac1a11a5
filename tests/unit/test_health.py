"""What `python -m workers.health` answers to a container's health check."""

import socket

import pytest

from jobs.store import JobStore
from workers import health


@pytest.fixture
def store(opened, database_url, monkeypatch) -> JobStore:
    """The store that the check looks into, by the database's own clock."""
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", database_url)
    return JobStore(opened())


def test_it_is_healthy_where_a_worker_of_this_host_holds_a_lease(store, capsys):
    store.register_worker("wrk_1", host=socket.gethostname(), pid=1, device="cpu")

    assert health.main() == 0
    assert capsys.readouterr().out == f"workers alive on {socket.gethostname()}: 1\n"


def test_workers_of_other_hosts_and_workers_that_have_ended_are_no_sign_of_life(store):
    store.register_worker("wrk_1", host="elsewhere", pid=1, device="cpu")
    store.register_worker("wrk_2", host=socket.gethostname(), pid=1, device="cpu")
    store.retire_worker("wrk_2", reason="its worker died", crashed=True)

    assert health.main() == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://nobody@127.0.0.1:9/none", "the database refused"),
        ("mysql://here/there", "COSTCURVE_DATABASE_URL"),
    ],
)
def test_without_a_store_it_is_unhealthy_and_says_why(monkeypatch, capsys, url, says):
    monkeypatch.setenv("COSTCURVE_DATABASE_URL", url)

    assert health.main() == 1
    assert says in capsys.readouterr().err
