"""Who is given up, and who is not: the judgement of whoever looks after the store."""

import pytest

from costcurve.core.errors import StoreUnavailable
from costcurve.core.status import JobStatus
from costcurve.store import JobStore
from costcurve.store.janitor import Janitor
from tests.helpers.reports import CPU, ENGINES, choose


@pytest.fixture
def upkeep(store) -> Janitor:
    return Janitor(store, name="service", lease_seconds=10, retention_days=None)


@pytest.fixture
def running(store, submit):
    """A job in the hands of a worker that is never heard from again."""
    job = submit()
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    store.claim("wrk_1", engines=ENGINES, devices=CPU, choose=choose())
    return job


def look(upkeep, clock, seconds: int) -> None:
    """Look once a second."""
    for _ in range(seconds):
        clock.advance(1)
        upkeep.look()


def test_a_worker_that_is_not_heard_from_for_a_lease_is_given_up(store, running, upkeep, clock):
    upkeep.look()
    look(upkeep, clock, 10)
    assert store.get(running.id).status is JobStatus.RUNNING
    look(upkeep, clock, 1)

    job = store.get(running.id)
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 2)
    assert job.status_reason.startswith("its worker wrk_1 did not renew its lease; ")
    assert store.events(running.id)[-1].by == "service"


def test_a_worker_that_renews_its_lease_is_kept(store, running, upkeep, clock):
    for _ in range(15):
        look(upkeep, clock, 2)
        assert store.renew_lease("wrk_1", seconds=10)

    assert store.get(running.id).status is JobStatus.RUNNING


def test_nobody_is_given_up_by_a_program_that_has_only_just_come(store, running, upkeep, clock):
    clock.advance(3600)
    upkeep.look()
    look(upkeep, clock, 9)
    assert store.get(running.id).status is JobStatus.RUNNING
    look(upkeep, clock, 1)

    assert store.get(running.id).status is JobStatus.QUEUED


@pytest.mark.parametrize("seconds", [3600, -3600], ids=["it slept", "the clock was set back"])
def test_after_a_gap_everybody_has_a_lease_to_be_heard_from_again(store, running, upkeep, clock, seconds):
    look(upkeep, clock, 8)
    clock.advance(seconds)
    upkeep.look()
    look(upkeep, clock, 9)
    assert store.get(running.id).status is JobStatus.RUNNING


def test_after_an_outage_everybody_has_a_lease_to_be_heard_from_again(store, running, upkeep, clock, monkeypatch):
    def gone() -> None:
        raise StoreUnavailable("gone")

    look(upkeep, clock, 8)
    with monkeypatch.context() as outage:
        outage.setattr(store, "touch", gone)
        clock.advance(1)
        with pytest.raises(StoreUnavailable):
            upkeep.look()
    look(upkeep, clock, 10)
    assert store.get(running.id).status is JobStatus.RUNNING
    look(upkeep, clock, 1)
    assert store.get(running.id).status is JobStatus.QUEUED


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_looks_for_dead_workers_waits_like_those_who_renew_leases(opened, clock):
    """Or it would be in touch while they are not, and give them up as soon as it can write again."""
    busy = opened()
    impatient = type(busy)(str(busy.engine.url), lock_timeout=0.05)
    with busy.write(), pytest.raises(StoreUnavailable, match="locked"):
        JobStore(impatient, clock=clock).touch()
    impatient.close()
