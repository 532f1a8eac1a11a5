"""Submitting to the store: what a job is when it is queued, and how a submission is repeated safely."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import update

from costcurve.core.errors import IdempotencyKeyReused, JobNotFound
from costcurve.core.status import JobStatus
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import jobs
from tests.helpers.reports import RESULT
from tests.helpers.writing import finish


def test_a_submitted_job_waits_with_its_resolved_spec(store, submit, clock):
    job = submit(name="first", tags={"team": "blue"}, priority=70)

    assert store.get(job.id) == replace(job, queue_position=1, status_reason="no worker is alive")
    assert (job.status, job.version, job.attempt) == (JobStatus.QUEUED, 1, 1)
    assert (job.name, job.tags, job.priority, job.created_at) == ("first", {"team": "blue"}, 70, clock.now)
    assert job.spec.effective_learning_rate == 0.15
    assert (job.started_at, job.finished_at, job.result, job.error) == (None, None, None, None)


def test_a_job_outlives_the_program_that_took_it(store, submit, opened):
    job = submit()

    assert JobStore(opened()).get(job.id).spec == job.spec


def named(name: str) -> Submission:
    return Submission.model_validate({"spec": {"experiment": "neuron"}, "name": name, "tags": {"a": "b"}})


def test_a_submission_repeated_with_its_key_is_the_first_answer_again(store, claim):
    first = store.submit(named("one"), idempotency_key="k")
    finish(store, claim(), RESULT)
    again = store.submit(named("one"), idempotency_key="k")

    assert (first.replayed, again.replayed) == (False, True)
    assert again.job == first.job
    assert len(store.list(JobQuery()).items) == 1
    assert store.submit(named("one"), idempotency_key="other").job.id != first.job.id
    assert store.submit(named("one")).job.id != first.job.id


def test_the_same_job_said_by_its_preset_or_by_its_spec_is_the_same_submission(store):
    preset = Submission.model_validate({"preset": "mnist-slow-hidden"})
    spelled = Submission.model_validate({"spec": preset.spec.model_dump(mode="json")})

    first = store.submit(preset, idempotency_key="k")
    assert store.submit(spelled, idempotency_key="k").job.id == first.job.id


def test_a_key_that_comes_with_another_submission_is_refused_and_queues_nothing(store):
    store.submit(named("one"), idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        store.submit(named("two"), idempotency_key="k")
    assert len(store.list(JobQuery()).items) == 1


def test_many_who_submit_with_one_key_at_once_get_one_job(opened):
    stores = [JobStore(opened()) for _ in range(6)]
    together = threading.Barrier(len(stores))
    answers: list[tuple[str, bool]] = []

    def submit(own: JobStore) -> None:
        together.wait()
        for key in range(10):
            submitted = own.submit(named(str(key)), idempotency_key=str(key))
            answers.append((submitted.job.id, submitted.replayed))

    threads = [threading.Thread(target=submit, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 60
    assert len({job_id for job_id, _ in answers}) == 10
    assert sum(not replayed for _, replayed in answers) == 10


def test_there_is_no_job_of_an_unknown_id(store):
    with pytest.raises(JobNotFound):
        store.get("job_0")


def test_a_stored_spec_is_read_whatever_todays_limits_are(store, submit, opened):
    job = submit(
        {"experiment": "mnist", "init": {"scheme": "normal", "std": [10, 1]}, "early_stopping": {"patience": 3}}
    )
    assert store.get(job.id).spec == job.spec
    with opened().write() as connection:
        beyond = job.spec.model_dump(mode="json") | {"epochs": 10**9}
        connection.execute(update(jobs).values(spec=beyond))

    assert store.get(job.id).spec.epochs == 10**9
    assert store.list(JobQuery()).items[0].spec.epochs == 10**9
