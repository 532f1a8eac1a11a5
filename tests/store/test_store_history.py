"""What stays of a job and what goes: events, changes by its client, deletion, retention."""

import pytest
from sqlalchemy import func, select

from costcurve.core.errors import InvalidTransition, JobNotFound
from costcurve.core.job import Failure
from costcurve.core.status import JobStatus
from costcurve.core.submission import JobChanges, Submission
from costcurve.store import JobStore
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import attempts, curve_runs, events, idempotency_keys, jobs, own_tags, workers
from tests.helpers.reports import RESULT, points, progress
from tests.helpers.writing import confirm_cancel, fail, finish, hand_back, record, restart

DAY = 86_400


def changes(**fields: object) -> JobChanges:
    return JobChanges.model_validate(fields)


def test_everything_that_happens_to_a_job_is_told_in_order_with_who_when_and_why(store, submit, clock, hire, claim_as):
    job = submit()
    first, second = hire(), hire()
    steps = [
        lambda: record(store, *claim_as(first), progress(1), points(0, 1.0), checkpoint="at-1"),
        lambda: store.pause(job.id),
        lambda: store.resume(job.id),
        lambda: store.retire_worker(first, reason="its worker died (SIGKILL)", crashed=True),
        lambda: store.pause(job.id),
        lambda: store.resume(job.id),
    ]
    for step in steps:
        clock.advance(seconds=1)
        step()
    clock.advance(seconds=1)
    [held] = claim_as(second)
    clock.advance(seconds=1)
    restart(store, held, why="begins anew")
    clock.advance(seconds=1)
    record(store, held, progress(1), points(0, 1.0))  # progress is no event
    finish(store, held, RESULT)

    told = store.events(job.id)
    assert [(event.by, event.from_status, event.to_status, event.why) for event in told] == [
        ("client", None, "queued", "submitted"),
        (first, "queued", "running", "attempt 1, with autograd on cpu, from the beginning"),
        ("client", "running", "running", "pause requested"),
        ("client", "running", "running", "pause withdrawn"),
        ("supervisor", "running", "queued", "its worker died (SIGKILL)"),
        ("client", "queued", "paused", "paused by its client"),
        ("client", "paused", "queued", "resumed by its client"),
        (second, "queued", "running", "attempt 2, with autograd on cpu, from step 1"),
        (second, "running", "running", "begins anew"),
        (second, "running", "succeeded", "training ended"),
    ]
    assert [(event.at - job.created_at).total_seconds() for event in told] == [*range(10)]
    assert [event.id for event in told] == sorted(event.id for event in told)


@pytest.mark.parametrize(
    ("end", "to", "why"),
    [
        (lambda store, held: fail(store, held, Failure("diverged", "cost was inf")), "failed", "cost was inf"),
        (lambda store, held: confirm_cancel(store, held), "cancelled", "cancelled on request"),
        (lambda store, held: hand_back(store, held, reason="told to stop"), "queued", "told to stop"),
    ],
    ids=["fail", "cancel", "hand back"],
)
def test_a_worker_that_ends_an_attempt_says_how(store, submit, claim, worker, end, to, why):
    job = submit()
    end(store, claim())

    last = store.events(job.id)[-1]
    assert (last.by, last.from_status, last.to_status, last.why) == (worker, "running", to, why)


def test_a_request_made_twice_is_one_event(store, submit, claim):
    job = submit()
    claim()
    for _ in range(2):
        store.pause(job.id)
    for _ in range(2):
        store.cancel(job.id)

    assert [event.why for event in store.events(job.id)][2:] == ["pause requested", "cancel requested"]


def test_what_is_refused_leaves_no_event(store, submit):
    job = submit()
    store.cancel(job.id)
    with pytest.raises(InvalidTransition):
        store.pause(job.id)

    assert len(store.events(job.id)) == 2


def test_an_unknown_job_has_no_events(store):
    with pytest.raises(JobNotFound):
        store.events("job_0")


def test_only_what_a_client_names_is_changed(store, submit):
    job = submit(name="first", tags={"team": "blue"}, priority=70)

    renamed = store.update(job.id, changes(name="second"))
    assert (renamed.name, renamed.tags, renamed.priority, renamed.pinned) == ("second", {"team": "blue"}, 70, False)
    retagged = store.update(job.id, changes(tags={"team": "red", "run": "1"}, pinned=True))
    assert (retagged.name, retagged.tags, retagged.pinned) == ("second", {"team": "red", "run": "1"}, True)
    cleared = store.update(job.id, changes(name=None, tags={}))
    assert (cleared.name, cleared.tags, cleared.priority, cleared.pinned) == (None, {}, 70, True)
    assert (job.version, renamed.version, retagged.version, cleared.version) == (1, 2, 3, 4)
    assert store.list(JobQuery(tags=(("team", "red"),))).items == ()


def test_a_job_can_be_changed_while_it_runs_and_when_it_has_ended(store, submit, claim):
    job = submit()
    held = claim()
    assert store.update(job.id, changes(name="running", priority=1)).status is JobStatus.RUNNING
    assert record(store, held, progress(1), points(0, 1.0)) is None
    finish(store, held, RESULT)

    assert store.update(job.id, changes(name="done", pinned=True)).name == "done"
    assert store.get(job.id).result == RESULT
    with pytest.raises(JobNotFound):
        store.update("job_0", changes(name="nobody"))


def test_the_first_answer_to_a_key_does_not_change_with_the_job(store):
    submission = Submission.model_validate({"spec": {"experiment": "neuron"}, "name": "first"})
    first = store.submit(submission, idempotency_key="k").job
    store.update(first.id, changes(name="second", tags={"a": "b"}, priority=1, pinned=True))

    assert store.submit(submission, idempotency_key="k").job == first


def test_a_deleted_job_is_gone_with_all_that_refers_to_it(store, claim, opened):
    submission = Submission.model_validate({"spec": {"experiment": "neuron"}, "tags": {"a": "b"}})
    job = store.submit(submission, idempotency_key="k").job
    held = claim()
    record(store, held, progress(1), points(0, 1.0))
    finish(store, held, RESULT)
    store.delete(job.id)

    with opened().read() as tx:
        for table in (jobs, own_tags, idempotency_keys, attempts, events, curve_runs):
            assert tx.scalar(select(func.count()).select_from(table)) == 0
    for look in (store.get, store.events, store.delete, lambda job_id: store.curve(job_id, limit=1)):
        with pytest.raises(JobNotFound):
            look(job.id)
    assert not store.submit(submission, idempotency_key="k").replayed


def test_only_a_job_that_has_ended_can_be_deleted(store, submit, claim):
    running, waiting = submit(), submit()
    claim()
    paused = submit()
    store.pause(paused.id)

    for job, status in ((running, "running"), (waiting, "queued"), (paused, "paused")):
        with pytest.raises(InvalidTransition, match=f"a {status} job cannot be deleted"):
            store.delete(job.id)
        assert store.get(job.id).status == status


def test_jobs_that_ended_long_ago_are_forgotten_but_not_young_pinned_or_living_ones(store, submit, claim, clock):
    old, pinned, running, paused = submit(), submit(), submit(), submit()
    finish(store, claim(), RESULT)
    finish(store, claim(), RESULT)
    store.update(pinned.id, changes(pinned=True))
    claim()
    store.pause(paused.id)
    waiting = submit()
    clock.advance(seconds=6 * DAY)
    young = submit(priority=100)
    finish(store, claim(), RESULT)
    clock.advance(seconds=1 * DAY + 1)

    assert store.purge(days=7) == 1
    assert store.purge(days=7) == 0
    left = {job.id for job in store.list(JobQuery()).items}
    assert left == {job.id for job in (pinned, running, paused, waiting, young)}
    with pytest.raises(JobNotFound):
        store.get(old.id)
    store.update(pinned.id, changes(pinned=False))
    assert store.purge(days=7) == 1


def test_no_more_than_the_limit_is_forgotten_at_once(store, submit, clock):
    for _ in range(5):
        store.cancel(submit().id)
    clock.advance(seconds=DAY)

    assert [store.purge(days=0.5, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_workers_that_ended_long_ago_are_forgotten_with_the_last_job_they_had(
    store, submit, claim_as, hire, clock, opened
):
    idle, busy, alive = hire(), hire(), hire(lease_seconds=10 * DAY)
    job = submit()
    [held] = claim_as(busy)
    finish(store, held, RESULT)
    store.update(job.id, changes(pinned=True))
    for worker in (idle, busy):
        store.retire_worker(worker, reason="told to stop", crashed=False)
    clock.advance(seconds=2 * DAY)

    def known() -> set[str]:
        with opened().read() as tx:
            return set(tx.scalars(select(workers.c.id)))

    store.purge(days=1)
    assert known() == {busy, alive}
    store.update(job.id, changes(pinned=False))
    store.purge(days=1)
    assert known() == {alive}


def test_the_store_can_be_asked_for_the_time_that_leases_go_by(store, clock, opened):
    assert store.touch() == clock.now
    before = JobStore(opened()).touch()
    assert before <= JobStore(opened()).touch()
