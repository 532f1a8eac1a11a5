"""What becomes on PostgreSQL of a transaction whose program froze, or whose host was lost, in the middle of it."""

import threading
from contextlib import suppress

import pytest
from sqlalchemy import select, text

from costcurve.core.errors import StoreUnavailable
from costcurve.store import JobStore, database
from costcurve.store.database import Database
from costcurve.store.schema import workers


@pytest.fixture
def opened(postgresql_url, monkeypatch):
    monkeypatch.setattr(database, "_IDLE_SECONDS", 0.3)
    databases = [Database(postgresql_url), Database(postgresql_url)]
    yield databases
    for each in databases:
        each.close()


def test_the_locks_of_a_transaction_in_which_nothing_happens_are_given_to_others(opened):
    frozen, other = opened
    store = JobStore(other)
    store.register_worker("w1", host="h", pid=1, device="cpu", lease_seconds=-1)

    with suppress(StoreUnavailable), frozen.write() as tx:
        tx.execute(select(workers).with_for_update())
        assert store.reap(by="test") == ["w1"]


@pytest.mark.parametrize("kind", ["read", "write"])
def test_whoever_wakes_up_in_a_transaction_that_was_ended_is_told_that_the_store_was_unavailable(opened, kind):
    def sleep_in_a_transaction() -> None:
        with getattr(opened[0], kind)() as tx:
            tx.execute(text("SELECT 1"))
            threading.Event().wait(1.0)  # the server's own clock decides
            tx.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable, match="idle-in-transaction"):
        sleep_in_a_transaction()
