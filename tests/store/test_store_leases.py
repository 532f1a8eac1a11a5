"""Workers that die or hang: leases, reaping, crashes, and jobs that kill whoever trains them."""

import threading

import pytest
from sqlalchemy import update

from costcurve.core.errors import ClaimLost, WorkerRetired
from costcurve.core.job import Failure
from costcurve.core.status import JobStatus
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store import JobStore
from costcurve.store.schema import workers
from costcurve.store.transitions import MAX_CRASHES
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, points, progress
from tests.helpers.writing import confirm_cancel, confirm_pause, fail, finish, hand_back, record, restart


def test_a_crash_costs_an_attempt_and_the_last_one_fails_the_job(store, submit):
    job = submit()
    for number in range(1, MAX_CRASHES + 1):
        store.register_worker(f"wrk_{number}", host="here", pid=number, device="cpu")
        [held] = store.claim(f"wrk_{number}", engines=ENGINES, devices=CPU, choose=choose())
        assert held.attempt == number
        store.retire_worker(f"wrk_{number}", reason="its worker died (SIGKILL)", crashed=True)

    seen = store.get(job.id)
    assert (seen.status, seen.error.code) == (JobStatus.FAILED, "worker_crashed")
    assert "SIGKILL" in seen.error.message


def test_a_worker_that_stops_in_order_costs_its_job_nothing(store, submit, worker, claim):
    job = submit()
    claim()
    store.retire_worker(worker, reason="told to stop", crashed=False)
    store.retire_worker(worker, reason="told to stop", crashed=False)

    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.QUEUED, 1)


def test_a_worker_whose_lease_is_over_is_given_up_and_its_job_waits_again(store, submit, worker, claim, clock):
    job = submit()
    claim()
    clock.advance(seconds=LEASE_SECONDS + 0.1)

    assert list(store.reap(by="somebody")) == [worker]
    seen = store.get(job.id)
    assert (seen.status, seen.attempt) == (JobStatus.QUEUED, 2)
    assert "wrk_1 did not renew its lease" in seen.status_reason
    assert store.events(job.id)[-1].by == "somebody"
    assert list(store.reap(by="somebody")) == []


def test_a_worker_that_was_registered_has_been_heard_from(store, hire, clock):
    hire(engines=["autograd", "fused_cpu"])

    [seen] = store.workers()
    assert (seen.started_at, seen.heartbeat_at) == (clock.now, clock.now)
    assert seen.engines == ("autograd", "fused_cpu")


def test_a_lease_lasts_to_its_last_moment(store, submit, claim, clock):
    submit()
    claim()
    clock.advance(seconds=LEASE_SECONDS)

    assert list(store.reap(by="somebody")) == []


def test_each_worker_is_given_up_by_its_own_lease(store, hire, clock):
    short, long = hire(lease_seconds=1), hire(lease_seconds=60)
    clock.advance(seconds=2)

    assert list(store.reap(by="somebody")) == [short]
    assert [each.id for each in store.workers()] == [long]


def test_a_worker_that_renews_its_lease_keeps_its_job(store, submit, worker, claim, clock):
    job = submit()
    held = claim()
    for _ in range(5):
        clock.advance(seconds=LEASE_SECONDS - 1)
        assert store.renew_lease(worker, seconds=LEASE_SECONDS)

    assert list(store.reap(by="somebody")) == []
    finish(store, held, RESULT)
    assert store.get(job.id).status is JobStatus.SUCCEEDED


def test_a_lease_that_is_over_can_be_renewed_until_somebody_has_noticed(store, submit, worker, claim, clock):
    submit()
    held = claim()
    clock.advance(seconds=10 * LEASE_SECONDS)

    assert store.renew_lease(worker, seconds=LEASE_SECONDS)
    assert list(store.reap(by="somebody")) == []
    finish(store, held, RESULT)


def test_a_lease_is_never_shortened(store, worker, clock):
    store.renew_lease(worker, seconds=60)
    store.renew_lease(worker, seconds=1)
    clock.advance(seconds=59)

    assert list(store.reap(by="somebody")) == []


def test_a_worker_that_was_given_up_can_renew_nothing_claim_nothing_and_write_nothing(store, submit, worker, claim):
    submit()
    stale = claim()
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)

    assert not store.renew_lease(worker, seconds=LEASE_SECONDS)
    with pytest.raises(WorkerRetired):
        claim()
    for write in (
        lambda: record(store, stale, progress(9), points(0, 9.0)),
        lambda: record(store, stale, progress(9), points(0, 9.0), checkpoint="late"),
        lambda: restart(store, stale, why=""),
        lambda: finish(store, stale, RESULT),
        lambda: fail(store, stale, Failure("diverged", "")),
        lambda: confirm_cancel(store, stale),
        lambda: confirm_pause(store, stale),
        lambda: hand_back(store, stale, reason=""),
    ):
        with pytest.raises(ClaimLost):
            write()


def test_a_worker_whose_lease_expired_cannot_finish_the_job_that_another_has_now(store, submit, hire, claim_as, clock):
    job = submit()
    [stale] = claim_as(hire())
    clock.advance(seconds=LEASE_SECONDS + 1)
    store.reap(by="somebody")
    [fresh] = claim_as(hire())

    with pytest.raises(ClaimLost):
        finish(store, stale, RESULT)
    finish(store, fresh, RESULT)
    assert (store.get(job.id).status, fresh.attempt) == (JobStatus.SUCCEEDED, 2)


def test_of_many_who_reap_at_once_a_crash_is_counted_once(store, submit, claim, opened, clock):
    job = submit()
    claim()
    clock.advance(seconds=LEASE_SECONDS + 1)
    reapers = [JobStore(opened(), clock=clock) for _ in range(4)]
    together = threading.Barrier(len(reapers))

    def reap(own: JobStore) -> None:
        together.wait()
        own.reap(by="somebody")

    threads = [threading.Thread(target=reap, args=(own,)) for own in reapers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert store.get(job.id).attempt == 2
    assert [event.to_status for event in store.events(job.id)] == ["queued", "running", "queued"]


def test_only_living_workers_are_shown_with_what_they_hold(store, submit, hire, claim_as, clock):
    jobs = [submit(), submit()]
    busy, idle = hire(engines=["autograd"]), hire(device="cuda:0")
    dead, gone = hire(lease_seconds=1), hire()
    store.retire_worker(gone, reason="told to stop", crashed=False)
    claim_as(busy, limit=2)
    clock.advance(seconds=2)
    store.renew_lease(busy, seconds=LEASE_SECONDS)

    shown = {each.id: each for each in store.workers()}
    assert shown.keys() == {busy, idle}, f"{dead} and {gone} are not alive"
    assert (shown[busy].job_ids, shown[idle].job_ids) == (tuple(job.id for job in jobs), ())
    assert (shown[busy].engines, shown[idle].device) == (("autograd",), "cuda:0")
    assert (shown[busy].heartbeat_at, shown[idle].heartbeat_at) == (clock.now, shown[idle].started_at)
    assert (shown[busy].lease_expires_at - clock.now).total_seconds() == LEASE_SECONDS


def crash(store, worker_id: str) -> None:
    store.retire_worker(worker_id, reason="its worker died (SIGKILL)", crashed=True)


def test_a_new_checkpoint_shows_that_a_job_gets_on_and_its_crashes_are_forgotten(store, submit, hire, claim_as):
    job = submit()
    for number in range(2 * MAX_CRASHES):
        worker = hire()
        [held] = claim_as(worker)
        if number % 2:
            record(store, held, progress(number), points(number, *[1.0]), checkpoint=f"{number}")
        crash(store, worker)

    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.QUEUED, 2 * MAX_CRASHES + 1)


def test_progress_without_a_checkpoint_does_not_clear_a_job_of_its_crashes(store, submit, hire, claim_as):
    job = submit()
    for _ in range(MAX_CRASHES):
        worker = hire()
        [held] = claim_as(worker)
        record(store, held, progress(7), points(0, 1.0))
        crash(store, worker)

    assert store.get(job.id).status is JobStatus.FAILED


def test_a_job_handed_back_between_crashes_is_still_suspected(store, submit, hire, claim_as):
    job = submit()
    for number in range(MAX_CRASHES):
        orderly, dying = hire(), hire()
        [held] = claim_as(orderly)
        assert held.attempt == number + 1
        hand_back(store, held, reason="told to stop")
        claim_as(dying)
        crash(store, dying)

    assert store.get(job.id).error.code == "worker_crashed"


def test_workers_that_hang_count_as_workers_that_die(store, submit, hire, claim_as, clock):
    job = submit()
    for _ in range(MAX_CRASHES):
        claim_as(hire())
        clock.advance(seconds=LEASE_SECONDS + 1)
        store.reap(by="somebody")

    seen = store.get(job.id)
    assert (seen.status, seen.error.code) == (JobStatus.FAILED, "worker_crashed")
    assert f"{MAX_CRASHES} workers in a row crashed" in seen.error.message


def test_a_crash_of_a_pack_fails_nobody_and_each_of_its_jobs_is_trained_alone_from_then_on(
    store, submit, hire, claim_as
):
    pack = [submit() for _ in range(3)]
    for _ in range(MAX_CRASHES - 1):  # as often as would make two crashes of a job alone
        worker = hire()
        claim_as(worker, limit=3)
        crash(store, worker)
    fresh = submit()

    seen = [store.get(job.id) for job in pack]
    assert [job.status for job in seen] == [JobStatus.QUEUED] * 3
    assert [[each.job_id for each in claim_as(hire(), limit=3)] for _ in range(4)] == [
        *([job.id] for job in pack),
        [fresh.id],
    ]


def test_a_job_that_is_trained_alone_is_not_taken_as_company_either(store, submit, hire, claim_as):
    suspects = [submit(), submit()]
    worker = hire()
    claim_as(worker, limit=2)
    crash(store, worker)
    first, second = submit(priority=100), submit(priority=99)

    assert [each.job_id for each in claim_as(hire(), limit=8)] == [first.id, second.id]
    assert [each.job_id for each in claim_as(hire(), limit=8)] == [suspects[0].id]


def test_a_crash_in_a_pack_does_not_count_towards_the_crashes_of_a_job_alone(store, submit, hire, claim_as):
    job, _ = submit(priority=100), submit()
    worker = hire()
    claim_as(worker, limit=2)
    crash(store, worker)
    for number in range(1, MAX_CRASHES + 1):
        assert store.get(job.id).status is JobStatus.QUEUED
        worker = hire()
        [held] = claim_as(worker, limit=2)
        assert (held.job_id, held.attempt) == (job.id, number + 1)
        crash(store, worker)

    assert store.get(job.id).status is JobStatus.FAILED


def test_whom_a_poisonous_job_was_packed_with_succeeds_and_only_it_fails(store, submit, hire, claim_as):
    pack = [submit() for _ in range(4)]
    poison = pack[1].id
    for _ in range(4 + MAX_CRASHES):  # rounds enough, if nobody is harmed twice
        worker = hire()
        held = claim_as(worker, limit=4)
        if poison in [each.job_id for each in held]:
            crash(store, worker)
        else:
            for each in held:
                finish(store, each, RESULT)

    ends = {job.id: store.get(job.id) for job in pack}
    assert ends.pop(poison).error.code == "worker_crashed"
    assert {job.status for job in ends.values()} == {JobStatus.SUCCEEDED}
    assert {job.attempt for job in ends.values()} == {2}


def test_one_lane_of_a_pack_may_end_while_the_others_go_on(store, submit, worker, claim_as):
    jobs = [submit() for _ in range(4)]
    finished, failed, cancelled, goes_on = claim_as(worker, limit=4)
    store.cancel(cancelled.job_id)

    finish(store, finished, RESULT)
    fail(store, failed, Failure("diverged", "cost was no longer finite"))
    confirm_cancel(store, cancelled)
    assert record(store, goes_on, progress(1), points(0, 1.0)) is None

    assert [store.get(job.id).status for job in jobs] == ["succeeded", "failed", "cancelled", "running"]
    assert store.workers()[0].job_ids == (goes_on.job_id,)


def test_the_last_job_left_of_a_pack_is_alone_when_its_worker_dies(store, submit, hire, claim_as):
    job, neighbour = submit(priority=100), submit()
    worker = hire()
    _, other = claim_as(worker, limit=2)
    finish(store, other, RESULT)
    crash(store, worker)
    company = submit()

    assert other.job_id == neighbour.id
    assert [each.job_id for each in claim_as(hire(), limit=2)] == [job.id, company.id]


def test_a_pack_whose_worker_is_told_to_stop_can_be_a_pack_again(store, submit, hire, claim_as):
    jobs = [submit() for _ in range(3)]
    worker = hire()
    claim_as(worker, limit=3)
    store.retire_worker(worker, reason="told to stop", crashed=False)

    held = claim_as(hire(), limit=3)
    assert [each.job_id for each in held] == [job.id for job in jobs]
    assert {each.attempt for each in held} == {1}


def test_a_job_that_ended_under_a_dying_worker_stays_as_it_ended(store, submit, claim, worker):
    job = submit()
    finish(store, claim(), RESULT)
    crash(store, worker)

    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.SUCCEEDED, 1)


def test_a_job_claimed_by_a_worker_of_a_version_without_leases_is_reaped_once_that_has_ended(
    store, submit, claim, worker, opened
):
    job = submit()
    claim()
    with opened().write() as tx:
        tx.execute(update(workers).values(lease_expires_at=None, stopped_at=workers.c.started_at))

    assert list(store.reap(by="somebody")) == [worker]
    assert store.get(job.id).status is JobStatus.QUEUED


def test_a_late_worker_of_a_deleted_job_cannot_write_to_the_job_that_came_after_it(store, submit, hire, claim_as):
    forgotten = submit()
    worker = hire()
    [stale] = claim_as(worker)
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)
    store.cancel(forgotten.id)
    store.delete(forgotten.id)
    job = submit()
    [fresh] = claim_as(hire())

    with pytest.raises(ClaimLost):
        finish(store, stale, RESULT)
    record(store, fresh, progress(1), points(0, 1.0))
    assert store.get(job.id).status is JobStatus.RUNNING
