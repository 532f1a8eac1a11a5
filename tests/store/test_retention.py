"""Retention deletes old jobs in short transactions, and never one that its client has just pinned."""

import threading
from collections.abc import Callable
from contextlib import contextmanager
from itertools import pairwise
from time import monotonic

import pytest
from sqlalchemy import event, func, select, text

from costcurve.core.job import Failure
from costcurve.core.submission import JobChanges
from costcurve.core.sweep import SweepSubmission
from costcurve.store import JobStore
from costcurve.store.janitor import Janitor
from costcurve.store.job_update import JobUpdate
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import jobs
from tests.helpers.processes import until
from tests.helpers.reports import mnist_result, model
from tests.helpers.writing import fail, written

DAY = 86_400
NETWORK = {"experiment": "mnist", "epochs": 1}


@contextmanager
def after_first_look(database, work: Callable[[], None]):
    """Do this work when retention has looked for old jobs, before its next statement."""
    done = []

    def look(_connection: object, _cursor: object, sql: str, *_: object) -> None:
        if not done and sql.startswith("SELECT") and "finished_at" in sql:
            done.append(sql)
            work()

    event.listen(database.engine, "after_cursor_execute", look)
    yield
    event.remove(database.engine, "after_cursor_execute", look)
    assert done


def test_a_job_that_is_pinned_while_retention_looks_for_old_jobs_is_kept(store, submit, opened, clock):
    pinned, old = submit(), submit()
    for job in (pinned, old):
        store.cancel(job.id)
    clock.advance(2 * DAY)
    client, database = JobStore(opened(), clock=clock), opened()

    with after_first_look(database, lambda: client.update(pinned.id, JobChanges(pinned=True))):
        assert JobStore(database, clock=clock).purge(days=1) == 1

    assert [job.id for job in store.list(JobQuery()).items] == [pinned.id]
    assert store.get(pinned.id).pinned


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_retention_does_not_wait_for_a_client_that_is_changing_an_old_job(store, submit, opened, clock):
    changed, old = submit(), submit()
    for job in (changed, old):
        store.cancel(job.id)
    clock.advance(2 * DAY)

    with opened().write() as client:
        client.execute(jobs.update().where(jobs.c.id == changed.id).values(pinned=True))
        assert store.purge(days=1) == 1

    assert store.get(changed.id).pinned
    assert store.purge(days=1) == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_retention_and_a_retry_of_the_same_sweep_lock_its_jobs_in_one_order(store, opened, clock, claim_as, worker):
    sweep = store.submit_sweep(SweepSubmission(spec={"experiment": "neuron"}, repeats=3)).sweep
    for claim in reversed(claim_as(worker, limit=3)):  # the last one ends first
        clock.advance(1)
        fail(store, claim, Failure("diverged", "cost was no longer finite"))
    middle = store.list(JobQuery(sweep_id=sweep.id)).items[1]
    clock.advance(2 * DAY)
    observer, errors = opened(), []

    def started(work: Callable[[JobStore], object]) -> threading.Thread:
        def run() -> None:
            try:
                work(JobStore(database, clock=clock))
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

        database = opened()
        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def waiting() -> int:
        with observer.read() as tx:
            waits = text("datname = current_database() AND wait_event_type = 'Lock'")
            return tx.scalar(select(func.count()).select_from(text("pg_stat_activity")).where(waits))

    with opened().write() as blocker:
        blocker.execute(select(jobs.c.pk).where(jobs.c.id == middle.id).with_for_update())
        retrying = started(lambda its: its.retry_sweep(sweep.id))
        until(waiting, lambda count: count == 1)
        purging = started(lambda its: its.purge(days=1))
        until(lambda: (waiting(), purging.is_alive()), lambda seen: seen[0] == 2 or not seen[1])
    for thread in (retrying, purging):
        thread.join(60)

    assert errors == []


def test_one_transaction_deletes_only_so_many_bytes_of_networks(store, submit, claim, clock):
    for _ in range(5):
        submit(NETWORK)
        written(store, JobUpdate(claim(), outcome=mnist_result(9_000), model=model(bytes(10_000))))
    for _ in range(2):
        clock.advance(1)
        store.cancel(submit().id)
    clock.advance(2 * DAY)

    # Three networks, two with the jobs that have nothing; and a network that alone is too large.
    assert [store.purge(days=1, max_bytes=size) for size in (35_000, 25_000)] == [3, 4]
    submit(NETWORK)
    written(store, JobUpdate(claim(), outcome=mnist_result(9_000), model=model(bytes(10_000))))
    clock.advance(2 * DAY)
    assert [store.purge(days=1, max_bytes=5_000) for _ in range(2)] == [1, 0]


def test_retention_pauses_for_as_long_as_its_last_transaction_took(store, submit, clock, monkeypatch):
    """And for 0.1 s at least, as a writer that waits for SQLite's lock looks for it so often: each one gets it."""
    for _ in range(4):
        store.cancel(submit().id)
    clock.advance(2 * DAY)
    took, purge = [], store.purge

    def purge_one(**given: float) -> int:
        began = monotonic()
        with store._database.write():
            held = threading.Event()
            held.wait(0.3 if len(took) == 1 else 0.01)  # a large network, and small ones
        count = purge(**given | {"limit": 1})
        took.append((began, monotonic()))
        return count

    monkeypatch.setattr(store, "purge", purge_one)
    Janitor(store, name="service", lease_seconds=600, retention_days=1)._purge()

    assert len(took) == 5  # the last one found nothing
    for (began, ended), (next_began, _) in pairwise(took):
        assert next_began - ended >= max(0.1, 0.9 * (ended - began))


def test_a_long_purge_does_not_keep_upkeep_from_looking_for_dead_workers(store, submit, clock, monkeypatch):
    for _ in range(40):
        store.cancel(submit().id)
    clock.advance(2 * DAY)
    upkeep = Janitor(store, name="service", lease_seconds=1, retention_days=1)
    purge = store.purge
    monkeypatch.setattr(store, "purge", lambda **given: purge(**given | {"limit": 1}))

    began = monotonic()
    upkeep._purge()
    assert monotonic() - began < 5
    assert len(store.list(JobQuery()).items) > 20
    assert upkeep._purged_at is None  # to be continued
