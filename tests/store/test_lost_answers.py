"""Commits whose answers are lost: a client or worker that repeats what took effect changes nothing."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text

from costcurve.core.errors import ClaimLost, JobNotFound, StoreUnavailable
from costcurve.core.job import EngineChoice, Failure, Request
from costcurve.core.status import JobStatus
from costcurve.core.submission import Clone, JobChanges, Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.runtime.settings import LEASE_SECONDS
from costcurve.store import JobStore
from costcurve.store.job_update import HandBack, JobUpdate, Restart
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import attempts, workers
from tests.helpers.processes import until
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, mnist_result, model, points, progress, steps
from tests.helpers.writing import fail, finish, hand_back, record

NETWORK = {"experiment": "mnist"}
NEURON = Submission.model_validate({"spec": {"experiment": "neuron"}})
FAILURE = Failure("diverged", "the cost was no longer finite")
# How a claim ends, what its client asked for before, and what the job is then.
ENDS = {
    "result": (RESULT, None, "succeeded"),
    "failure": (FAILURE, None, "failed"),
    "hand-back": (HandBack("told to stop"), None, "queued"),
    "hand-back of a job that is to be cancelled": (HandBack("told to stop"), "cancel", "cancelled"),
    "hand-back of a job that is to be paused": (HandBack("told to stop"), "pause", "paused"),
    "cancel": (Request.CANCEL, "cancel", "cancelled"),
    "pause": (Request.PAUSE, "pause", "paused"),
}


@pytest.fixture
def claim_lossily(lossy, worker):
    """Claim through the store that loses answers."""
    return lambda limit=1: lossy.claim(worker, engines=ENGINES, devices=CPU, choose=choose(limit))


def test_a_claim_whose_answer_was_lost_is_given_again(lossy, store, losses, submit, claim_lossily, clock):
    jobs = [submit() for _ in range(4)]
    losses.lose_next("claim")
    clock.advance(seconds=1.5)
    with pytest.raises(StoreUnavailable):
        claim_lossily(limit=2)
    clock.advance(seconds=1)
    again = claim_lossily(limit=3)

    assert [each.job_id for each in again] == [job.id for job in jobs[:2]]
    assert [each.waited_seconds for each in again] == [1.5, 1.5]
    for job in jobs[:2]:
        assert [event.to_status for event in store.events(job.id)] == ["queued", "running"]
        assert store.get(job.id).attempt == 1
    for each in again:
        finish(store, each, RESULT)
    assert [each.job_id for each in claim_lossily(limit=3)] == [job.id for job in jobs[2:]]


def test_a_claim_is_given_again_also_when_no_other_job_waits(losses, submit, claim_lossily):
    job = submit()
    losses.lose_next("claim")
    with pytest.raises(StoreUnavailable):
        claim_lossily()

    assert [each.job_id for each in claim_lossily()] == [job.id]


def test_a_claim_given_again_is_the_very_claim(lossy, store, losses, submit, claim, worker, opened, clock):
    job = submit(NETWORK, max_runtime_seconds=60)
    record(store, claim(), progress(7), points(0, *[1.0] * 7), checkpoint="at-7")
    store.retire_worker(worker, reason="it died", crashed=True)
    clock.advance(seconds=1)
    store.register_worker("wrk_9", host="here", pid=1, device="cpu")
    losses.lose_next("claim")
    asks = {"engines": ENGINES, "devices": CPU, "choose": choose()}
    with pytest.raises(StoreUnavailable):
        lossy.claim("wrk_9", **asks)
    [first] = lossy.claim("wrk_9", **asks)
    [second] = lossy.claim("wrk_9", **asks)

    assert first == second
    assert (first.attempt, first.checkpoint, first.max_runtime_seconds, first.waited_seconds) == (2, "at-7", 60, None)
    with opened().read() as tx:
        assert tx.scalar(select(func.count()).select_from(attempts)) == 2
    finish(store, first, mnist_result(9000))
    assert store.get(job.id).status is JobStatus.SUCCEEDED


def test_a_cancel_of_a_job_whose_claim_was_lost_is_performed(store, losses, submit, claim_lossily):
    job = submit()
    losses.lose_next("claim")
    with pytest.raises(StoreUnavailable):
        claim_lossily()
    store.cancel(job.id)
    [held] = claim_lossily()

    assert record(store, held, progress(1), points(0, 1.0)) is Request.CANCEL


def test_a_claim_that_is_still_being_committed_is_waited_for(store, submit, worker, opened):
    """The connection broke while the server was still at it, and the worker asks again."""
    first, _second = submit(), submit()
    late = opened()
    choosing, may_commit = threading.Event(), threading.Event()

    def choose_late(*given: Any) -> EngineChoice:
        choosing.set()
        assert may_commit.wait(30)
        return choose()(*given)

    with ThreadPoolExecutor() as pool:
        asks = {"engines": ENGINES, "devices": CPU}
        lost = pool.submit(JobStore(late).claim, worker, **asks, choose=choose_late)
        assert choosing.wait(30)
        again = pool.submit(store.claim, worker, **asks, choose=choose())
        if late.engine.dialect.name == "postgresql":
            until(lambda: waits_for_a_lock(store), bool)
        may_commit.set()

        assert [each.job_id for each in again.result()] == [first.id]
        assert [each.attempt_pk for each in again.result()] == [each.attempt_pk for each in lost.result()]


def waits_for_a_lock(store: JobStore) -> bool:
    with store._database.read() as tx:
        return bool(tx.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


@pytest.mark.parametrize(("turn", "asked", "status"), ENDS.values(), ids=ENDS)
def test_a_worker_that_repeats_its_last_write_is_not_told_that_it_lost_the_job(
    lossy, store, losses, submit, claim, turn, asked, status
):
    job = submit()
    held = claim()
    if asked is not None:
        getattr(store, asked)(job.id)
    write = JobUpdate(held, progress(2), points(0, 1.0, 0.5), outcome=turn)
    losses.lose_next("end")
    with pytest.raises(StoreUnavailable):
        lossy.write([write])
    before = store.get(job.id), store.events(job.id)

    assert lossy.write([write]) == [None]
    assert (store.get(job.id), store.events(job.id)) == before
    assert before[0].status == status


def test_a_network_whose_last_write_is_repeated_is_kept_once(lossy, store, losses, submit, claim):
    job = submit(NETWORK)
    write = JobUpdate(
        claim(),
        progress(1),
        points(0, 1.0),
        steps=steps(0, 1.0),
        outcome=mnist_result(9000),
        model=model(),
        start={"a": 1.0},
    )
    losses.lose_next("end")
    with pytest.raises(StoreUnavailable):
        lossy.write([write])

    assert lossy.write([write]) == [None]
    assert store.model(job.id) == b"weights"


@pytest.mark.parametrize("ending", ["reaped", "other turn", "deleted"])
def test_a_worker_whose_write_never_took_effect_is_told_that_it_lost_the_job(
    store, submit, claim, worker, clock, ending
):
    job = submit()
    held = claim()
    if ending == "reaped":
        clock.advance(seconds=LEASE_SECONDS + 1)
        store.reap(by="test")
    elif ending == "other turn":
        hand_back(store, held, reason="told to stop")
    else:
        fail(store, held, FAILURE)
        store.delete(job.id)

    for turn in (RESULT, Failure("timed_out", "too late"), HandBack("for another reason"), Request.CANCEL, None):
        [answer] = store.write([JobUpdate(held, progress(1), points(0, 1.0), outcome=turn)])
        assert isinstance(answer, ClaimLost)


def test_of_writes_in_one_transaction_each_is_answered_by_what_became_of_it(store, submit, claim_as, hire):
    ours, lost, goes_on = [submit() for _ in range(3)]
    claims = claim_as(hire(), limit=3)
    finish(store, claims[0], RESULT)
    hand_back(store, claims[1], reason="told to stop")

    answers = store.write(
        [JobUpdate(claims[0], outcome=RESULT), JobUpdate(claims[1], outcome=RESULT), JobUpdate(claims[2], progress(1))]
    )
    assert [type(answer) for answer in answers] == [type(None), ClaimLost, type(None)]
    assert [store.get(job.id).status for job in (ours, lost, goes_on)] == ["succeeded", "queued", "running"]


def test_a_last_write_is_not_confirmed_by_the_attempt_of_another_job_that_has_its_number_now(store, submit, claim):
    forgotten = submit()
    held = claim()
    finish(store, held, RESULT)
    store.delete(forgotten.id)
    submit()
    fresh = claim()
    finish(store, fresh, RESULT)

    [answer] = store.write([JobUpdate(replace(held, attempt_pk=fresh.attempt_pk), outcome=RESULT)])
    assert isinstance(answer, ClaimLost)


def test_progress_that_is_written_twice_is_kept_once(lossy, store, losses, submit, claim, cost):
    job = submit()
    write = JobUpdate(claim(), progress(2), points(0, 1.0, 0.5), "at-2", start={"a": 1.0})
    losses.lose_next("change")
    with pytest.raises(StoreUnavailable):
        lossy.write([write])

    assert lossy.write([write]) == [None]
    assert cost(job.id) == [1.0, 0.5]
    assert store.get(job.id).progress.step == 2


def test_a_new_beginning_that_is_written_twice_happens_once(lossy, store, losses, submit, claim):
    job = submit()
    held = claim()
    record(store, held, progress(2), points(0, 1.0, 0.5), checkpoint="at-2")
    write = JobUpdate(held, outcome=Restart("its checkpoint is damaged"))
    losses.lose_next("request")
    with pytest.raises(StoreUnavailable):
        lossy.write([write])

    assert lossy.write([write]) == [None]
    assert [event.why for event in store.events(job.id)].count("its checkpoint is damaged") == 1


@pytest.mark.parametrize("kind", ["submission", "clone", "sweep"])
def test_a_submission_whose_answer_was_lost_is_answered_as_it_would_have_been(lossy, store, losses, submit, kind):
    original = submit() if kind == "clone" else None

    def send():
        match kind:
            case "submission":
                return lossy.submit(NEURON, idempotency_key="k")
            case "clone":
                return lossy.clone(original.id, Clone(priority=70), idempotency_key="k")
            case _:
                return lossy.submit_sweep(SweepSubmission(spec=NETWORK, repeats=2), idempotency_key="k")

    losses.lose_next("sweep" if kind == "sweep" else "submission")
    with pytest.raises(StoreUnavailable):
        send()
    count = len(store.list(JobQuery()).items)

    assert send().replayed
    assert len(store.list(JobQuery()).items) == count == {"submission": 1, "clone": 2, "sweep": 2}[kind]


def test_what_a_client_asks_for_twice_as_the_first_answer_was_lost_happens_once(lossy, store, losses, submit, claim):
    def twice(kind, ask):
        losses.lose_next(kind)
        with pytest.raises(StoreUnavailable):
            ask()
        return ask()

    running, waiting, third = submit(priority=100), submit(), submit()
    claim()
    assert twice("request", lambda: lossy.cancel(running.id)).status is JobStatus.RUNNING
    assert twice("request", lambda: lossy.pause(waiting.id)).status is JobStatus.PAUSED
    assert twice("request", lambda: lossy.resume(waiting.id)).status is JobStatus.QUEUED
    assert twice("request", lambda: lossy.cancel(waiting.id)).status is JobStatus.CANCELLED
    assert twice("change", lambda: lossy.update(third.id, JobChanges(priority=70, tags={"a": "b"}))).priority == 70
    for job, events in ((running, 3), (waiting, 4), (third, 1)):
        assert len(store.events(job.id)) == events
    losses.lose_next("deletion")
    with pytest.raises(StoreUnavailable):
        lossy.delete(waiting.id)
    with pytest.raises(JobNotFound):  # a client takes that for done, if it may have been
        lossy.delete(waiting.id)


def test_a_sweep_that_is_cancelled_or_retried_twice_is_so_once(lossy, store, losses, claim):
    sweep = store.submit_sweep(SweepSubmission(spec=NETWORK, repeats=2)).sweep
    for each in (claim(), claim()):
        fail(store, each, FAILURE)
    for ask, status in ((lossy.retry_sweep, "queued"), (lossy.cancel_sweep, "cancelled")):
        losses.lose_next("submission" if status == "queued" else "request")
        with pytest.raises(StoreUnavailable):
            ask(sweep.id)
        assert ask(sweep.id).counts[status] == 2
    assert len(store.list(JobQuery(sweep_id=sweep.id)).items) == 4


def test_a_lease_is_renewed_and_a_worker_retired_twice_without_harm(lossy, store, losses, submit, claim, worker, clock):
    job = submit()
    claim()
    losses.lose_next("renewal")
    with pytest.raises(StoreUnavailable):
        lossy.renew_lease(worker, seconds=30)
    assert lossy.renew_lease(worker, seconds=30)
    assert store.workers()[0].lease_expires_at == clock.now + timedelta(seconds=30)

    losses.lose_next("retirement")
    for _ in range(2):
        try:
            lossy.retire_worker(worker, reason="it died", crashed=True)
        except StoreUnavailable:
            continue
    assert (store.get(job.id).status, store.get(job.id).attempt) == (JobStatus.QUEUED, 2)
    assert not lossy.renew_lease(worker, seconds=30)


def test_a_worker_whose_registration_was_lost_on_the_way_may_register_again(lossy, store, losses, opened, clock):
    losses.lose_next("registration")
    fields = {"host": "here", "pid": 1, "device": "cpu", "engines": ["autograd"]}
    with pytest.raises(StoreUnavailable):
        lossy.register_worker("wrk_1", **fields)
    clock.advance(seconds=LEASE_SECONDS - 1)
    lossy.register_worker("wrk_1", **fields)

    [seen] = store.workers()
    assert (seen.id, seen.lease_expires_at) == ("wrk_1", clock.now + timedelta(seconds=LEASE_SECONDS))
    with opened().read() as tx:
        assert tx.scalar(select(func.count()).select_from(workers)) == 1
