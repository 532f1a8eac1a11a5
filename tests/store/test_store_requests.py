"""What a client asks for while its job waits, runs or rests: cancel, pause, resume."""

import pytest

from costcurve.core.errors import ClaimLost, InvalidTransition, JobNotFound
from costcurve.core.job import Request
from costcurve.core.status import TRANSITIONS, JobStatus, ensure_transition
from tests.helpers.reports import RESULT, points, progress
from tests.helpers.writing import confirm_cancel, confirm_pause, finish, hand_back, record


def test_a_queued_job_is_cancelled_at_once(store, submit, claim):
    job = submit()

    assert store.cancel(job.id).status is JobStatus.CANCELLED
    assert store.cancel(job.id).status is JobStatus.CANCELLED
    assert claim() is None


def test_a_running_job_is_cancelled_by_its_worker(store, submit, claim):
    job = submit()
    held = claim()

    assert store.cancel(job.id).status is JobStatus.RUNNING
    assert store.cancel(job.id).status is JobStatus.RUNNING
    assert record(store, held, progress(1), points(0, 1.0)) is Request.CANCEL
    confirm_cancel(store, held)

    assert store.get(job.id).status is JobStatus.CANCELLED


def test_a_cancel_request_is_honoured_when_the_worker_goes_instead(store, submit, claim, worker):
    job = submit()
    claim()
    store.cancel(job.id)
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)

    assert store.get(job.id).status is JobStatus.CANCELLED


def test_a_job_that_succeeded_cannot_be_cancelled(store, submit, claim):
    job = submit()
    finish(store, claim(), RESULT)

    with pytest.raises(InvalidTransition, match="succeeded job cannot become cancelled"):
        store.cancel(job.id)


@pytest.mark.parametrize("current", JobStatus)
@pytest.mark.parametrize("target", JobStatus)
def test_only_transitions_of_the_table_are_allowed(current, target):
    if target in TRANSITIONS[current]:
        ensure_transition(current, target)
    else:
        with pytest.raises(InvalidTransition, match=f"{current}.*{target}"):
            ensure_transition(current, target)


def test_a_queued_job_is_paused_at_once_and_nobody_claims_it(store, submit, claim):
    job = submit()

    assert store.pause(job.id).status is JobStatus.PAUSED
    assert store.pause(job.id).status is JobStatus.PAUSED
    assert (store.get(job.id).status_reason, store.get(job.id).queue_position) == ("paused by its client", None)
    assert claim() is None
    assert len(store.events(job.id)) == 2


def test_a_resumed_job_waits_where_it_would_stand_had_it_never_been_paused(store, submit, claim, clock):
    job = submit()
    store.pause(job.id)
    clock.advance(seconds=30)
    submit()

    resumed = store.resume(job.id)
    assert (resumed.status, resumed.queue_position) == (JobStatus.QUEUED, 1)
    assert claim().job_id == job.id


def test_a_running_job_is_paused_by_its_worker_and_goes_on_from_its_checkpoint(store, submit, claim, cost):
    job = submit()
    held = claim()
    assert store.pause(job.id).status_reason == "pause requested"
    assert store.pause(job.id).status is JobStatus.RUNNING
    assert record(store, held, progress(2), points(0, 0.0, 1.0), checkpoint="at-2") is Request.PAUSE
    confirm_pause(store, held)

    seen = store.get(job.id)
    assert (seen.status, seen.status_reason, seen.attempt) == (JobStatus.PAUSED, "paused on request", 1)
    assert (seen.progress.step, cost(job.id)) == (2, [0.0, 1.0])
    assert claim() is None
    with pytest.raises(ClaimLost):
        record(store, held, progress(3), points(2, 2.0))
    store.resume(job.id)
    again = claim()
    assert (again.checkpoint, again.attempt) == ("at-2", 1)
    assert record(store, again, progress(3), points(2, 2.0)) is None


def test_a_pause_request_is_performed_when_the_worker_hands_the_job_back(store, submit, claim):
    job = submit()
    held = claim()
    store.pause(job.id)
    hand_back(store, held, reason="told to stop")

    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.PAUSED, 1)


def test_a_pause_request_is_performed_when_the_worker_dies(store, submit, claim, worker):
    job = submit()
    claim()
    store.pause(job.id)
    store.retire_worker(worker, reason="its worker died (SIGKILL)", crashed=True)

    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.PAUSED, 2)


def test_resuming_a_job_that_is_still_running_withdraws_the_pause_request(store, submit, claim):
    job = submit()
    held = claim()
    store.pause(job.id)
    resumed = store.resume(job.id)

    assert (resumed.status, resumed.status_reason) == (JobStatus.RUNNING, None)
    assert record(store, held, progress(1), points(0, 1.0)) is None
    assert [event.why for event in store.events(job.id)][-2:] == ["pause requested", "pause withdrawn"]


def test_a_pause_that_is_withdrawn_while_the_worker_performs_it_puts_the_job_back_into_the_queue(store, submit, claim):
    job = submit()
    held = claim()
    store.pause(job.id)
    assert record(store, held, progress(1), points(0, 1.0), checkpoint="at-1") is Request.PAUSE
    store.resume(job.id)
    confirm_pause(store, held)

    assert store.get(job.id).status is JobStatus.QUEUED
    assert claim().checkpoint == "at-1"


def test_a_cancel_that_comes_while_the_worker_performs_a_pause_is_not_lost(store, submit, claim):
    job = submit()
    held = claim()
    store.pause(job.id)
    assert record(store, held, progress(1), points(0, 1.0)) is Request.PAUSE
    store.cancel(job.id)
    confirm_pause(store, held)

    assert store.get(job.id).status is JobStatus.CANCELLED


def test_cancel_beats_pause(store, submit, claim):
    job = submit()
    held = claim()
    store.pause(job.id)
    store.cancel(job.id)

    assert record(store, held, progress(1), points(0, 1.0)) is Request.CANCEL
    with pytest.raises(InvalidTransition, match="pending cancel request"):
        store.pause(job.id)
    assert store.resume(job.id).status_reason == "cancel requested"
    hand_back(store, held, reason="told to stop")
    assert (store.get(job.id).status, store.get(job.id).status_reason) == ("cancelled", "cancelled on request")


def test_a_request_does_not_outlive_the_attempt_that_it_was_made_in(store, submit, claim):
    job = submit()
    held = claim()
    store.pause(job.id)
    confirm_pause(store, held)
    store.resume(job.id)

    assert record(store, claim(), progress(1), points(0, 1.0)) is None


def test_a_paused_job_can_be_cancelled(store, submit):
    job = submit()
    store.pause(job.id)

    assert store.cancel(job.id).status is JobStatus.CANCELLED


def test_resuming_a_job_that_waits_or_runs_changes_nothing(store, submit, claim):
    job = submit()
    waiting = store.get(job.id)
    assert store.resume(job.id) == waiting
    claim()
    running = store.get(job.id)
    assert store.resume(job.id) == running
    assert len(store.events(job.id)) == 2


@pytest.mark.parametrize("end", ["succeeded", "cancelled"])
def test_a_job_that_has_ended_can_be_neither_paused_nor_resumed(store, submit, claim, end):
    job = submit()
    if end == "succeeded":
        finish(store, claim(), RESULT)
    else:
        store.cancel(job.id)

    with pytest.raises(InvalidTransition, match=f"{end} job cannot become paused"):
        store.pause(job.id)
    with pytest.raises(InvalidTransition, match=f"{end} job cannot become queued"):
        store.resume(job.id)


def test_a_job_that_finishes_before_a_request_is_seen_has_succeeded(store, submit, claim):
    job = submit()
    held = claim()
    store.cancel(job.id)
    finish(store, held, RESULT)

    assert (store.get(job.id).status, store.get(job.id).status_reason) == (JobStatus.SUCCEEDED, None)


@pytest.mark.parametrize("request_", ["cancel", "pause", "resume"])
def test_nothing_can_be_asked_of_an_unknown_job(store, request_):
    with pytest.raises(JobNotFound):
        getattr(store, request_)("job_0")
