"""How things stand with all jobs and workers, in a few numbers, on each database."""

from costcurve.core.status import JobStatus
from tests.helpers.reports import CPU, ENGINES, choose


def claim(store, worker_id: str):
    [claim] = store.claim(worker_id, engines=ENGINES, devices=CPU, choose=choose())
    return claim


def test_an_empty_store_has_all_statuses_and_devices_at_zero(store):
    fleet = store.fleet()

    assert fleet.jobs == dict.fromkeys(JobStatus, 0)
    assert fleet.depth == fleet.age == {"auto": 0, "cpu": 0, "cuda": 0}
    assert fleet.workers == fleet.heartbeats == {}


def test_the_age_of_the_queue_is_that_of_the_first_in_line_and_of_the_engine_that_waits_longest(store, submit, clock):
    submit(engine="autograd", device="cpu")
    clock.advance(10)
    submit(device="cpu")
    submit(device="cuda")
    clock.advance(5)
    submit(device="cuda")  # behind another of its kind
    fleet = store.fleet()

    assert fleet.depth == {"auto": 0, "cpu": 2, "cuda": 2}
    assert fleet.age == {"auto": 0, "cpu": 15, "cuda": 5}


def test_jobs_are_counted_by_status_and_a_running_one_waits_no_more(store, submit):
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    first, second, _ = submit(), submit(), submit()
    store.cancel(second.id)
    assert claim(store, "wrk_1").job_id == first.id
    fleet = store.fleet()

    assert fleet.jobs == dict.fromkeys(JobStatus, 0) | {
        JobStatus.RUNNING: 1,
        JobStatus.QUEUED: 1,
        JobStatus.CANCELLED: 1,
    }
    assert fleet.depth["auto"] == 1


def test_a_worker_whose_lease_is_over_is_no_longer_alive_but_its_heartbeat_ages_until_it_is_given_up(store, clock):
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    clock.advance(8)
    store.register_worker("wrk_2", host="here", pid=2, device="cuda:0")
    clock.advance(3)
    overdue = store.fleet()
    store.reap(by="anybody")

    assert overdue.workers == {"cuda:0": 1}
    assert overdue.heartbeats == {"wrk_1": 11, "wrk_2": 3}
    assert store.fleet().heartbeats == {"wrk_2": 3}


def test_a_claim_says_how_long_the_job_waited_for_it_unless_it_was_claimed_before(store, submit, clock):
    submit()
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    clock.advance(4)
    first = claim(store, "wrk_1")
    store.retire_worker("wrk_1", reason="told to stop", crashed=False)
    store.register_worker("wrk_2", host="here", pid=2, device="cpu")
    second = claim(store, "wrk_2")

    assert (first.waited_seconds, second.waited_seconds) == (4, None)
