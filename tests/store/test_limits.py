"""Limits of a project on what it queues."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from costcurve.core.access import ProjectLimits
from costcurve.core.errors import InvalidRequest, QuotaExceeded, SubmissionTooLarge
from costcurve.core.job import Failure
from costcurve.core.submission import Clone, Fork, JobChanges, Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.core.trial import Proposal, TrialRequest
from costcurve.store import JobStore
from costcurve.store.pagination import JobQuery
from tests.helpers.writing import fail

NEURON = {"experiment": "neuron"}
MILLION = {"experiment": "neuron", "epochs": 1_000_000}


def job(spec: dict | None = None, **fields: object) -> Submission:
    return Submission.model_validate({"spec": spec or NEURON, **fields})


def sweep(values: int, spec: dict | None = None, **fields: object) -> SweepSubmission:
    rates = [0.1 + i / 10_000 for i in range(values)]
    return SweepSubmission(spec=spec or NEURON, grid={"learning_rate": rates}, **fields)


@pytest.fixture
def limit(store):
    """Give the project of `store` these limits."""

    def limit(**limits: object) -> None:
        store.update_project("default", ProjectLimits(**limits))

    return limit


WAYS = {
    "submit": lambda store, _: store.submit(job()),
    "clone": lambda store, job_id: store.clone(job_id, Clone()),
    "fork": lambda store, job_id: store.fork(job_id, Fork(at_epoch=1, spec={"learning_rate": 0.1})),
    "sweep": lambda store, _: store.submit_sweep(sweep(1)),
    "trial": lambda store, job_id: store.submit_trial(
        job_id, TrialRequest(), lambda: Proposal(None, {"learning_rate": 0.5})
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_project_queues_no_more_jobs_than_its_limit(store, limit, submit, way):
    jobs = [submit().id for _ in range(20)]
    limit(queued_jobs=20)

    with pytest.raises(QuotaExceeded, match="20 of at most 20 jobs queued") as caught:
        WAYS[way](store, jobs[0])

    assert caught.value.headers == {"Retry-After": "30"}
    assert len(store.list(JobQuery(limit=200)).items) == 20
    for each in jobs:
        store.cancel(each)
    WAYS[way](store, jobs[0])


def test_two_submissions_at_once_do_not_both_take_the_last_place(opened, store, limit):
    limit(queued_jobs=5)

    def try_to_submit(own: JobStore) -> bool:
        try:
            own.submit(job())
        except QuotaExceeded:
            return False
        return True

    stores = [JobStore(opened()) for _ in range(10)]
    with ThreadPoolExecutor(len(stores)) as pool:
        assert sum(pool.map(try_to_submit, stores)) == 5


def test_a_retry_is_refused_while_its_jobs_do_not_fit(store, limit, submit, claim):
    swept = store.submit_sweep(sweep(1, priority=90)).sweep
    fail(store, claim(), Failure("diverged", "the cost is not finite"))
    submit()
    limit(queued_jobs=1, priority=50)

    with pytest.raises(QuotaExceeded, match="1 of at most 1"):
        store.retry_sweep(swept.id)
    limit(queued_jobs=2)

    assert store.retry_sweep(swept.id).counts["queued"] == 1


def test_limits_of_another_project_and_a_replayed_key_are_left_alone(store, limit):
    first = store.submit(job(), idempotency_key="a").job
    swept = store.submit_sweep(sweep(2), idempotency_key="b").sweep
    limit(queued_jobs=1, sweep_cells=1, priority=0, submission_seconds=1e-9)

    assert store.submit(job(), idempotency_key="a").job == first
    assert store.submit_sweep(sweep(2), idempotency_key="b").sweep == swept
    with pytest.raises(InvalidRequest):
        store.submit(job())
    store.create_project("other")
    _, secret = store.create_key("other", name="mine")
    store.for_caller(store.authenticate(secret)).submit(job())


def test_cells_priority_and_runtime_have_ceilings_that_name_their_field(store, limit, submit):
    old = submit(priority=90)
    limit(sweep_cells=3, priority=60, max_runtime_seconds=100)

    refused = {
        "/grid": lambda: store.submit_sweep(sweep(4)),
        "/priority": lambda: store.submit(job(priority=61)),
        "/max_runtime_seconds": lambda: store.submit(job(max_runtime_seconds=101)),
    }
    for pointer, ask in refused.items():
        with pytest.raises(InvalidRequest) as caught:
            ask()
        assert [error.pointer for error in caught.value.errors] == [pointer]
    with pytest.raises(InvalidRequest, match="/priority: must be at most 60"):
        store.update(old.id, JobChanges(priority=61))
    assert store.get(old.id).priority == 90

    assert store.submit(job(priority=60)).job.max_runtime_seconds == 100
    assert store.submit(job(max_runtime_seconds=50)).job.max_runtime_seconds == 50
    store.submit_sweep(sweep(3))


def test_a_sweep_that_would_train_for_too_long_is_refused_with_its_estimate(store, limit):
    limit(submission_seconds=86_400)

    with pytest.raises(SubmissionTooLarge, match=r"take 150,000 seconds on one core; .* at most 86,400"):
        store.submit_sweep(sweep(5_000, MILLION))

    assert store.sweeps().items == ()
    store.submit_sweep(sweep(2, MILLION))


def test_a_submission_that_would_store_too_much_is_refused_with_its_estimate(store, limit):
    limit(submission_bytes=1_000_000)

    with pytest.raises(SubmissionTooLarge, match=r"take [0-9,]+ bytes; .* at most 1,000,000"):
        store.submit(job(MILLION))

    store.submit(job())


def test_more_jobs_than_a_project_may_ever_queue_are_too_large(store, limit):
    limit(queued_jobs=3)

    with pytest.raises(SubmissionTooLarge, match="these are 4 jobs; your project may have at most 3"):
        store.submit_sweep(sweep(4))


def test_the_service_gives_defaults_to_projects_without_limits_of_their_own(opened, limit):
    own = JobStore(opened(), limits=ProjectLimits(priority=50, sweep_cells=1))
    with pytest.raises(InvalidRequest, match="/priority"):
        own.submit(job(priority=51))

    limit(priority=60)

    own.submit(job(priority=60))
    with pytest.raises(InvalidRequest, match="/grid"):
        own.submit_sweep(sweep(2))
