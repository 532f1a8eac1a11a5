"""What a transaction has looked at stays so until it ends: another that would change it has to wait.

Just behind the statement that looks, another program tries the opposite. Its patience is short, so that it fails
instead of waiting. Without the lock it would succeed, and the first would then write what is no longer true.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from costcurve.core.errors import ClaimLost, StoreUnavailable
from costcurve.core.job import Failure
from costcurve.core.status import JobStatus
from costcurve.core.submission import JobChanges
from costcurve.core.sweep import SweepSubmission
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.job_update import JobUpdate
from costcurve.store.pagination import JobQuery
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, points, progress
from tests.helpers.writing import fail, finish

PATCH = JobChanges(priority=1)


@pytest.fixture
def other(database_url, clock) -> Iterator[JobStore]:
    """The store, as another program has it that gives up waiting after a tenth of a second."""
    database = Database(database_url, lock_timeout=0.1)
    yield JobStore(database, clock=clock)
    database.close()


@contextmanager
def just_behind(store: JobStore, look: str, tries: Callable[[], object]) -> Iterator[None]:
    """Try this behind the first SELECT with this text in a transaction that writes; it must not be possible."""
    tried: list[bool] = []

    def interfere(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT") and look in " ".join(statement.split()) and not tried:
            tried.append(True)
            with pytest.raises(StoreUnavailable):
                tries()

    engine = store._database._writing
    event.listen(engine, "after_cursor_execute", interfere)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", interfere)
    assert tried, f"no SELECT with {look}"


def test_a_worker_cannot_be_retired_while_it_claims(store, submit, worker, claim, other):
    job = submit()

    def retire() -> None:
        other.retire_worker(worker, reason="it died", crashed=True)

    with just_behind(store, "FROM workers", retire):
        held = claim()
    retire()
    assert store.get(job.id).status is JobStatus.QUEUED
    with pytest.raises(ClaimLost):
        finish(store, held, RESULT)


def test_a_job_cannot_be_taken_from_its_worker_while_that_writes(store, submit, worker, claim, other):
    job = submit()
    held = claim()

    def retire() -> None:
        other.retire_worker(worker, reason="it died", crashed=True)

    with just_behind(store, "ORDER BY jobs.pk", retire):
        finish(store, held, RESULT)
    retire()
    assert [event.to_status for event in store.events(job.id)] == ["queued", "running", "succeeded"]


def test_a_request_cannot_come_between_a_worker_and_what_it_is_told(store, submit, claim, other):
    job = submit()
    held = claim()

    with just_behind(store, "ORDER BY jobs.pk", lambda: other.cancel(job.id)):
        assert store.write([JobUpdate(held, progress(1), points(0, 1.0))]) == [None]


def test_a_worker_cannot_be_given_up_while_it_renews_its_lease(store, submit, worker, claim, other, clock):
    job = submit()
    claim()
    clock.advance(seconds=LEASE_SECONDS + 1)

    with just_behind(store, "FROM workers", lambda: other.reap(by="test")):
        assert store.renew_lease(worker, seconds=LEASE_SECONDS)
    assert list(other.reap(by="test")) == []
    assert store.get(job.id).status is JobStatus.RUNNING


def test_a_worker_cannot_renew_its_lease_while_it_is_given_up(store, submit, worker, claim, other, clock):
    submit()
    claim()
    clock.advance(seconds=LEASE_SECONDS + 1)

    with just_behind(store, "FROM workers", lambda: other.renew_lease(worker, seconds=LEASE_SECONDS)):
        assert list(store.reap(by="test")) == [worker]
    assert not other.renew_lease(worker, seconds=LEASE_SECONDS)


def test_a_job_cannot_be_cancelled_while_it_is_taken_from_a_dead_worker(store, submit, worker, claim, other):
    job = submit()
    claim()

    with just_behind(store, "ORDER BY jobs.pk", lambda: other.cancel(job.id)):
        store.retire_worker(worker, reason="it died", crashed=True)
    assert other.cancel(job.id).status is JobStatus.CANCELLED


@pytest.mark.parametrize("asked", ["cancel", "pause", "resume", "update"])
def test_of_two_clients_who_ask_at_once_for_one_job_the_second_waits(store, submit, other, asked):
    job = submit()
    if asked == "resume":
        store.pause(job.id)
    asks = {"update": lambda: store.update(job.id, PATCH)}.get(asked, lambda: getattr(store, asked)(job.id))

    with just_behind(store, "FROM jobs", lambda: other.cancel(job.id)):
        asks()
    assert other.cancel(job.id).status is JobStatus.CANCELLED


def test_a_job_of_a_sweep_cannot_be_paused_while_the_sweep_is_cancelled(store, other):
    sweep = store.submit_sweep(SweepSubmission(spec={"experiment": "neuron"}, repeats=2)).sweep
    job = store.list(jobs_of(sweep.id)).items[0].id

    with just_behind(store, "ORDER BY jobs.pk", lambda: other.pause(job)):
        assert store.cancel_sweep(sweep.id).counts["cancelled"] == 2


def test_of_two_who_retry_a_sweep_at_once_the_second_waits_and_finds_nothing_to_retry(store, other, claim):
    sweep = store.submit_sweep(SweepSubmission(spec={"experiment": "neuron"}, repeats=2)).sweep
    fail(store, claim(), Failure("diverged", "no longer finite"))

    with just_behind(store, "ORDER BY jobs.pk", lambda: other.retry_sweep(sweep.id)):
        store.retry_sweep(sweep.id)
    assert other.retry_sweep(sweep.id).counts["queued"] == 2


def test_of_two_who_delete_from_a_sweep_at_once_the_second_waits_and_sees_the_rest(store, other):
    sweep = store.submit_sweep(SweepSubmission(spec={"experiment": "neuron"}, repeats=2)).sweep
    first, second = (each.id for each in store.list(jobs_of(sweep.id)).items)
    store.cancel_sweep(sweep.id)

    with just_behind(store, "FROM sweeps", lambda: other.delete(second)):
        store.delete(first)
    other.delete(second)
    assert store.sweeps().items == ()


def test_a_job_that_is_being_claimed_is_passed_by_and_its_company_too(store, submit, hire, other):
    """On SQLite the second worker has to wait instead."""
    first, company, third = submit(), submit(), submit()
    claimed: list[str] = []
    mine, its = hire(), hire()

    def choose_late(*given):
        try:
            claimed.extend(each.job_id for each in other.claim(its, engines=ENGINES, devices=CPU, choose=choose(2)))
        except StoreUnavailable:
            assert store._database.engine.dialect.name == "sqlite"
        return choose(2)(*given)

    def company_is_taken(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "pack_key =" in statement:
            looked.append(True)

    looked: list[bool] = []
    event.listen(store._database.engine, "after_cursor_execute", company_is_taken)
    held = store.claim(
        mine,
        engines=ENGINES,
        devices=CPU,
        choose=lambda *given: choose_late(*given) if looked and not claimed else choose(2)(*given),
    )
    assert [each.job_id for each in held] == [first.id, company.id]
    assert claimed in ([], [third.id])
    assert (claimed == []) == (store._database.engine.dialect.name == "sqlite")


def jobs_of(sweep_id: str) -> JobQuery:
    return JobQuery(sweep_id=sweep_id, order="created_at")
