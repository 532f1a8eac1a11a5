"""Lists in the order of submission, while PostgreSQL commits submissions in another order than it numbered them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from costcurve.core.submission import Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.pagination import JobQuery, Page
from tests.conftest import postgresql_database
from tests.helpers.processes import until

NEURON = Submission.model_validate({"spec": {"experiment": "neuron"}})
SWEEP = SweepSubmission(spec={"experiment": "neuron"}, repeats=3)


@pytest.fixture
def stores(postgresql, migrated_postgresql) -> Iterator[list[JobStore]]:
    """Three programs on one PostgreSQL database."""
    with postgresql_database(postgresql, template=migrated_postgresql) as url:
        databases = [Database(url) for _ in range(3)]
        yield [JobStore(database) for database in databases]
        for database in databases:
            database.close()


@contextmanager
def held_before_its_commit(store: JobStore) -> Iterator[threading.Event]:
    """Hold back what this store writes, from when the event that is yielded is set up to the end."""
    reached, may_commit = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        reached.set()
        assert may_commit.wait(30)

    event.listen(store._database._writing, "commit", hold)
    try:
        yield reached
    finally:
        may_commit.set()


def waits(store: JobStore) -> bool:
    with store._database.read() as tx:
        return bool(tx.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")))


@pytest.mark.parametrize("late", ["job", "sweep"])
def test_a_walk_from_the_oldest_job_on_misses_none_that_is_committed_late(stores, late):
    slow, quick, reader = stores
    first = quick.submit(NEURON).job
    with ThreadPoolExecutor() as pool:
        with held_before_its_commit(slow) as reached:
            submitting = pool.submit(slow.submit, NEURON) if late == "job" else pool.submit(slow.submit_sweep, SWEEP)
            assert reached.wait(30)
            second = quick.submit(NEURON).job  # numbered later, committed earlier
            walking = pool.submit(walk, reader)
            until(lambda: waits(quick) or walking.done(), bool)
            third = quick.submit(NEURON).job  # the walk keeps nobody from submitting
        submitting.result()
        seen = [job.id for job in walking.result()]

    in_between = [job.id for job in reader.list(JobQuery(order="created_at")).items][1:-2]
    assert len(in_between) == (1 if late == "job" else 3)
    assert seen[: len(seen) - seen.count(third.id)] == [first.id, *in_between, second.id]


def walk(store: JobStore) -> list:
    """Follow the cursors from the oldest job to the end, two jobs a page."""
    items, cursor = [], None
    while True:
        page: Page = store.list(JobQuery(order="created_at", limit=2, cursor=cursor))
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


def test_a_job_that_was_submitted_is_listed_at_once(stores):
    ids = [stores[number % 2].submit(NEURON).job.id for number in range(4)]
    assert [job.id for job in walk(stores[2])] == ids


def test_a_submission_that_is_never_committed_keeps_no_walk_waiting(stores):
    slow, quick, reader = stores
    with ThreadPoolExecutor() as pool:
        with held_before_its_commit(slow) as reached:
            submitting = pool.submit(slow.submit, NEURON)
            assert reached.wait(30)
            job = quick.submit(NEURON).job
            walking = pool.submit(walk, reader)
            until(lambda: waits(quick), bool)
            with quick._database.write() as tx:
                tx.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
                )
            assert [found.id for found in walking.result(30)] == [job.id]
        assert submitting.exception() is not None


def test_lists_in_other_orders_wait_for_no_submission(stores):
    slow, quick, reader = stores
    with ThreadPoolExecutor() as pool, held_before_its_commit(slow) as reached:
        pool.submit(slow.submit, NEURON)
        assert reached.wait(30)
        job = quick.submit(NEURON).job
        for order in ("-created_at", "-best_accuracy"):
            assert [found.id for found in reader.list(JobQuery(order=order)).items] == [job.id]
