"""Where a network started: written once, read as it was, through every later attempt, and gone with its job."""

import math

import pytest
from sqlalchemy import func, select

from costcurve.core.errors import ClaimLost, JobNotFound
from costcurve.store.job_update import JobUpdate
from costcurve.store.schema import network_starts
from tests.helpers.reports import progress
from tests.helpers.writing import hand_back, restart, written

NETWORK = {"experiment": "mnist"}
START = {"slowdown_factor": math.inf, "update_ratio.1": 0.1 + 0.2, "distinct_units.1": 30.0}


def test_a_start_is_read_as_it_was_written_also_where_it_is_infinite(store, submit, claim):
    job, other = submit(NETWORK), submit(NETWORK)
    held = claim()
    assert store.start(job.id) is None

    written(store, JobUpdate(held, progress(0), start=START))
    written(store, JobUpdate(held, progress(1)))

    assert store.start(job.id) == START
    assert list(store.start(job.id)) == list(START)
    assert store.start(other.id) is None
    with pytest.raises(JobNotFound):
        store.start("job_0")


def test_it_stays_through_hand_back_and_a_new_beginning(store, submit, claim):
    job = submit(NETWORK)
    held = claim()
    written(store, JobUpdate(held, progress(0), start=START))
    hand_back(store, held, reason="told to stop")
    assert store.start(job.id) == START

    again = claim()
    restart(store, again, why="its checkpoint is gone")
    written(store, JobUpdate(again, progress(0), start={**START, "distinct_units.1": 29.0}))

    assert store.start(job.id) == {**START, "distinct_units.1": 29.0}


def test_of_a_worker_that_has_lost_the_job_nothing_is_kept(store, submit, claim):
    job = submit(NETWORK)
    lost = claim()
    hand_back(store, lost, reason="told to stop")

    with pytest.raises(ClaimLost):
        written(store, JobUpdate(lost, progress(0), start=START))
    assert store.start(job.id) is None


def test_it_goes_with_its_job(store, submit, claim):
    job = submit(NETWORK)
    written(store, JobUpdate(claim(), progress(0), start=START))
    store.cancel(job.id)
    store.retire_worker("wrk_1", reason="gone", crashed=False)
    store.delete(job.id)

    with store._database.read() as tx:
        assert tx.scalar(select(func.count()).select_from(network_starts)) == 0
