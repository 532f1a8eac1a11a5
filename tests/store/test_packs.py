"""One job in a worker's hands: claimed, recorded, brought to its end, and no other worker's meanwhile."""

import pytest
from sqlalchemy import select

from costcurve.core.curve import Curve
from costcurve.core.errors import ClaimLost, UnknownMetric
from costcurve.core.job import Failure
from costcurve.core.status import JobStatus
from costcurve.store.schema import attempts, jobs
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, mnist_result, points, progress
from tests.helpers.writing import confirm_cancel, fail, finish, hand_back, record, restart


def test_a_worker_only_claims_what_it_can_train(store, submit, worker):
    submit(device="cuda")

    assert not store.claim(worker, engines=ENGINES, devices=CPU, choose=choose())
    [claim] = store.claim(
        worker, engines=ENGINES, devices={"auto": "cuda:1", "cuda": "cuda:1", "cpu": "cpu"}, choose=choose()
    )
    assert (claim.engine, claim.device) == ("autograd", "cuda:1")
    assert store.get(claim.job_id).device == "cuda:1"


def test_the_first_claim_of_a_job_says_how_long_it_waited_and_later_ones_do_not(submit, claim, clock, store):
    submit()
    clock.advance(seconds=2.5)
    first = claim()
    hand_back(store, first, reason="told to stop")
    clock.advance(seconds=1)

    assert (first.waited_seconds, claim().waited_seconds) == (2.5, None)


def test_what_a_worker_records_can_be_read(store, submit, claim):
    job = submit()
    held = claim()

    assert record(store, held, progress(2), points(0, 1.0, 0.1)) is None
    assert record(store, held, progress(3), points(2, 1 / 3)) is None

    seen = store.get(job.id)
    assert (seen.status, seen.progress) == (JobStatus.RUNNING, progress(3))
    assert seen.progress.fraction == 0.01
    page = store.curve(job.id, metrics=("output", "cost"), limit=100)
    assert page.curve == Curve(0, {"output": [-1.0, -0.1, -1 / 3], "cost": [1.0, 0.1, 1 / 3]})
    assert (page.total_points, page.next_from) == (3, 3)


def test_a_curve_is_read_by_range_and_goes_on_where_it_ended(store, submit, claim):
    job = submit()
    held = claim()
    for start in range(0, 100, 10):
        record(store, held, progress(start + 10), points(start, *map(float, range(start, start + 10))))

    def read(**bounds):
        page = store.curve(job.id, metrics=("cost",), **{"limit": 1000, **bounds})
        return page.curve.start, page.curve.series["cost"], page.total_points, page.next_from

    assert read(first=5, last=15) == (5, [float(x) for x in range(5, 16)], 11, 16)
    assert read(first=95) == (95, [95.0, 96.0, 97.0, 98.0, 99.0], 5, 100)
    assert read(first=95, limit=2) == (95, [95.0, 96.0], 5, 97)
    assert read(first=100) == (100, [], 0, 100)
    assert read(first=500) == (500, [], 0, 500)
    assert read(last=0) == (0, [0.0], 1, 1)
    assert read(first=9, last=8) == (9, [], 0, 9)


def test_an_unknown_metric_is_refused_by_name(store, submit):
    job = submit()

    with pytest.raises(UnknownMetric) as caught:
        store.curve(job.id, metrics=("cost", "accuracy"), limit=10)
    assert [error.pointer for error in caught.value.errors] == ["/query/metrics"]
    assert "accuracy" in caught.value.detail


def test_a_finished_job_has_its_result_and_its_time(store, submit, claim, clock):
    job = submit()
    clock.advance(seconds=2)
    held = claim()
    clock.advance(seconds=3)
    finish(store, held, RESULT)

    seen = store.get(job.id)
    assert (seen.status, seen.result, seen.is_terminal) == (JobStatus.SUCCEEDED, RESULT, True)
    assert seen.progress.fraction == 1.0
    assert (seen.started_at - seen.created_at).total_seconds() == 2
    assert (seen.finished_at - seen.started_at).total_seconds() == 3


def test_a_job_that_was_stopped_early_is_all_done_and_says_why_it_ended(store, submit, claim):
    job = submit({"experiment": "mnist", "early_stopping": {"patience": 2}})
    finish(store, claim(), mnist_result(9000))

    seen = store.get(job.id)
    assert (seen.progress.epoch, seen.progress.epochs, seen.progress.fraction) == (1, 30, 1.0)
    assert "stopped early: validation_accuracy had not improved for 2 epochs" in seen.status_reason


def test_a_failed_job_says_why_and_keeps_its_curve(store, submit, claim):
    job = submit()
    held = claim()
    record(store, held, progress(1), points(0, 1.0))
    fail(store, held, Failure("diverged", "cost was no longer finite"))

    seen = store.get(job.id)
    assert (seen.status, seen.error) == (JobStatus.FAILED, Failure("diverged", "cost was no longer finite"))
    assert store.curve(job.id, limit=10).total_points == 1


def test_a_job_handed_back_is_trained_again_from_the_start_at_no_cost(store, submit, claim):
    job = submit()
    held = claim()
    record(store, held, progress(5), points(0, 1.0))
    hand_back(store, held, reason="told to stop")

    seen = store.get(job.id)
    assert (seen.status, seen.status_reason, seen.attempt) == (
        JobStatus.QUEUED,
        "told to stop; next in line for a free worker",
        1,
    )
    again = claim()
    assert again.attempt == 1
    assert store.get(job.id).progress.step == 0
    assert store.curve(job.id, limit=10).total_points == 0


def test_a_worker_that_handed_a_job_back_cannot_write_to_it_any_more(store, submit, claim):
    job = submit()
    stale = claim()
    hand_back(store, stale, reason="told to stop")
    fresh = claim()

    for write in (
        lambda: record(store, stale, progress(9), points(0, 9.0)),
        lambda: finish(store, stale, RESULT),
        lambda: fail(store, stale, Failure("diverged", "")),
        lambda: confirm_cancel(store, stale),
        lambda: hand_back(store, stale, reason=""),
    ):
        with pytest.raises(ClaimLost):
            write()
    record(store, fresh, progress(1), points(0, 1.0))
    finish(store, fresh, RESULT)

    assert store.get(job.id).status is JobStatus.SUCCEEDED
    assert store.curve(job.id, metrics=("cost",), limit=10).curve.series["cost"] == [1.0]


def test_a_job_that_ended_cannot_end_again(store, submit, claim):
    submit()
    held = claim()
    finish(store, held, RESULT)

    with pytest.raises(ClaimLost):
        fail(store, held, Failure("diverged", ""))


def test_every_attempt_is_kept_with_its_worker_and_its_outcome(store, submit, claim, worker, opened):
    submit()
    hand_back(store, claim(), reason="told to stop")
    finish(store, claim(), RESULT)

    with opened().read() as tx:
        kept = tx.execute(select(attempts.c.worker_id, attempts.c.outcome).order_by(attempts.c.pk)).all()
    assert [tuple(row) for row in kept] == [(worker, "told to stop"), (worker, "succeeded")]


def test_the_version_moves_with_every_change(store, submit, claim):
    job = submit()
    held = claim()
    versions = [job.version, store.get(job.id).version]
    record(store, held, progress(1), points(0, 1.0))
    versions.append(store.get(job.id).version)
    finish(store, held, RESULT)
    versions.append(store.get(job.id).version)

    assert versions == sorted(set(versions))


def test_a_failed_transaction_leaves_nothing_behind(store, submit, claim):
    job = submit()
    held = claim()
    record(store, held, progress(1), points(0, 1.0))
    # What cannot be stored is found out only after the progress has been updated.
    with pytest.raises(TypeError):
        record(store, held, progress(2), Curve(1, {"cost": ["no number"]}))

    assert store.get(job.id).progress.step == 1
    assert store.curve(job.id, limit=10).total_points == 1


def test_points_written_twice_are_kept_once(store, submit, claim):
    job = submit()
    held = claim()
    record(store, held, progress(2), points(0, 1.0, 0.5))
    for _ in range(2):
        record(store, held, progress(3), points(2, 0.25))

    assert store.curve(job.id, metrics=("cost",), limit=10).curve.series["cost"] == [1.0, 0.5, 0.25]


def test_a_job_goes_on_from_its_checkpoint_with_its_curve_cut_to_it(store, submit, hire, claim_as, cost):
    job = submit()
    worker = hire()
    [first] = claim_as(worker)
    assert first.checkpoint is None
    record(store, first, progress(3), points(0, 0.0, 1.0, 2.0), checkpoint="at-3")
    record(store, first, progress(5), points(3, 3.0, 4.0))
    record(store, first, progress(6), points(5, 5.0))
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)
    assert cost(job.id) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]  # shown until somebody trains it anew

    [second] = claim_as(hire())
    assert second.checkpoint == "at-3"
    seen = store.get(job.id)
    assert (seen.progress.epoch, seen.progress.step, seen.progress.eta_seconds) == (3, 3, None)
    assert cost(job.id) == [0.0, 1.0, 2.0]
    assert store.events(job.id)[-1].why == "attempt 2, with autograd on cpu, from step 3"
    record(store, second, progress(4), points(3, -3.0))
    assert cost(job.id) == [0.0, 1.0, 2.0, -3.0]


def test_the_last_checkpoint_is_the_one_to_go_on_from(store, submit, claim, cost):
    job = submit()
    held = claim()
    for step in range(1, 5):
        record(store, held, progress(step), points(step - 1, float(step)), checkpoint=f"at-{step}")
    record(store, held, progress(5), points(4, 5.0))
    hand_back(store, held, reason="told to stop")

    assert claim().checkpoint == "at-4"
    assert cost(job.id) == [1.0, 2.0, 3.0, 4.0]


def test_a_checkpoint_may_come_without_new_points(store, submit, claim, cost):
    job = submit()
    held = claim()
    record(store, held, progress(2), points(0, 0.0, 1.0))
    record(store, held, progress(2), Curve(), checkpoint="at-2")
    record(store, held, progress(3), points(2, 2.0))
    hand_back(store, held, reason="told to stop")

    assert claim().checkpoint == "at-2"
    assert cost(job.id) == [0.0, 1.0]


def test_a_job_whose_checkpoint_cannot_be_used_begins_anew_under_the_same_claim(store, submit, claim, cost):
    job = submit()
    held = claim()
    record(store, held, progress(2), points(0, 0.0, 1.0), checkpoint="at-2")
    hand_back(store, held, reason="told to stop")
    again = claim()
    restart(store, again, why="begins anew, as the file is gone")

    seen = store.get(job.id)
    assert (seen.status, seen.progress.epoch, seen.progress.step, cost(job.id)) == (JobStatus.RUNNING, 0, 0, [])
    last = store.events(job.id)[-1]
    assert (last.from_status, last.to_status, last.why) == ("running", "running", "begins anew, as the file is gone")
    record(store, again, progress(1), points(0, 0.5))
    hand_back(store, again, reason="told to stop")
    assert claim().checkpoint is None


def test_a_finished_job_needs_its_checkpoint_no_more(store, submit, claim, opened):
    submit()
    held = claim()
    record(store, held, progress(2), points(0, 0.0, 1.0), checkpoint="at-2")
    finish(store, held, RESULT)

    with opened().read() as tx:
        [row] = tx.execute(select(jobs.c.checkpoint, jobs.c.checkpoint_step, jobs.c.checkpoint_epoch))
    assert tuple(row) == (None, 0, 0)


def test_those_of_some_jobs_that_have_ended_are_told(store, submit, claim):
    finished, running, waiting, cancelled = (submit() for _ in range(4))
    finish(store, claim(), RESULT)
    claim()
    store.cancel(cancelled.id)

    asked = [job.id for job in (running, finished, waiting, cancelled)]
    assert set(store.ended([*asked, "job_0"])) == {finished.id, cancelled.id}
    assert list(store.ended([])) == []
