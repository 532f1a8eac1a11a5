"""Trials in the store: which jobs they queue, what they are linked to, and what becomes of their verdicts."""

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from costcurve.core.curve import Curve
from costcurve.core.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JobNotFound,
    SweepNotFound,
    TrialNotExtendable,
)
from costcurve.core.job import Failure, Job
from costcurve.core.sweep import SweepSubmission, TrialLink
from costcurve.core.trial import Proposal, TrialRequest
from costcurve.store.pagination import JobQuery
from costcurve.store.schema import trials
from tests.helpers.reports import RESULT, mnist_result, progress
from tests.helpers.writing import fail, finish, record

FASTER = Proposal("learning_rate_small", {"learning_rate": 3.0})
DIVERGED = Failure("diverged", "the cost is not finite")


def request(**fields: object) -> TrialRequest:
    return TrialRequest.model_validate(fields)


def tried(store, job: Job, proposal: Proposal = FASTER, **fields: object):
    return store.submit_trial(job.id, request(**fields), lambda: proposal).sweep


@pytest.fixture
def job(submit) -> Job:
    """A network that learns slowly, and has been claimed by no worker yet."""
    return submit(
        {"experiment": "mnist", "learning_rate": 0.01, "seed": 7}, priority=60, device="cpu", engine="autograd"
    )


@pytest.fixture
def jobs_of(store):
    def jobs_of(sweep_id: str) -> list[Job]:
        return list(store.list(JobQuery(sweep_id=sweep_id, order="created_at", limit=200)).items)

    return jobs_of


@pytest.fixture
def train(store, claim, job):
    """End the job, then the jobs of a trial in the order of the queue, with these numbers of correct images."""

    def train(*correct: int | Failure) -> None:
        first = () if store.get(job.id).is_terminal else (5000,)
        for each in (*first, *correct):
            held = claim()
            if isinstance(each, Failure):
                fail(store, held, each)
            else:
                finish(store, held, mnist_result(each))

    return train


def test_a_trial_queues_the_spec_as_it_is_and_changed_with_the_same_seeds(store, job, jobs_of):
    sweep = tried(store, job, repeats=3)

    found = [(each.cell, each.repeat, each.spec.learning_rate, each.spec.seed) for each in jobs_of(sweep.id)]
    assert found == [(cell, repeat, (0.01, 3.0)[cell], 7 + repeat) for repeat in range(3) for cell in range(2)]
    first = jobs_of(sweep.id)[0]
    assert first.spec == job.spec
    assert (first.priority, first.device, first.engine) == (60, "cpu", "autograd")
    assert sweep.trial == TrialLink(job.id, "learning_rate_small", looks=1, look=1)
    assert sweep.submission.variants == [{}, {"learning_rate": 3.0}]
    assert sweep.submission.name == f"trial of {job.id}: learning_rate_small"
    assert (store.sweep(sweep.id), store.sweeps().items) == (sweep, (sweep,))


def test_a_whole_spec_may_be_tried_and_its_cell_names_only_what_differs(store, job):
    whole = {"experiment": "mnist", "learning_rate": 3.0, "seed": 7, "loss": "cross_entropy"}

    assert tried(store, job, Proposal(None, whole)).submission.variants[1] == {
        "learning_rate": 3.0,
        "loss": "cross_entropy",
    }


def test_five_seeds_are_the_default_and_one_where_no_number_depends_on_the_seed(store, job, submit):
    assert tried(store, job).submission.repeats == 5
    neuron = submit({"experiment": "neuron"})
    assert tried(store, neuron).submission.repeats == 1
    assert tried(store, neuron, repeats=2).submission.repeats == 2
    assert tried(store, neuron, Proposal(None, {"init": "normal"})).submission.repeats == 5


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"learning_rate": -1, "momentum": 1}, ["/try/momentum"]),
        ({"learning_rate": -1, "epochs": 0}, ["/try/learning_rate", "/try/epochs"]),
        ({"layers": [784, 10], "init": {"scheme": "normal", "std": [1.0, 1.0]}}, ["/try/init/std"]),
        ({"experiment": "neuron"}, ["/try/experiment"]),
        ({"seed": 8}, ["/try/seed"]),
        ({"learning_rate": 0.01}, ["/try"]),
        ({}, ["/try"]),
    ],
)
def test_a_change_that_makes_no_trial_is_refused_by_its_place_and_queues_nothing(store, job, changes, pointers):
    with pytest.raises(InvalidRequest) as caught:
        tried(store, job, Proposal(None, changes))

    assert [error.pointer for error in caught.value.errors] == pointers
    assert (store.sweeps().items, store.trials(job.id)) == ((), [])


def test_a_change_that_does_not_fit_a_field_of_the_job_is_refused_under_try(store, submit):
    job = submit({"experiment": "mnist", "init": {"scheme": "normal", "std": [1.0, 2.0]}})

    with pytest.raises(InvalidRequest) as caught:
        tried(store, job, Proposal(None, {"layers": [784, 10]}))
    assert [error.pointer for error in caught.value.errors] == ["/try/init/std"]


def test_a_job_that_does_not_exist_has_no_trial(store):
    with pytest.raises(JobNotFound):
        store.submit_trial("job_0", request(), lambda: FASTER)


def test_a_trial_has_no_verdict_until_its_last_job_has_ended(store, job, train):
    sweep = tried(store, job, repeats=3)
    train(6200, 9440, 6210, 9450, 6190)

    assert store.verdict(store.sweep(sweep.id)) is None
    assert [(trial.sweep_id, trial.verdict) for trial in store.trials(job.id)] == [(sweep.id, None)]

    train(9445)
    verdict = store.verdict(store.sweep(sweep.id))
    assert (verdict.outcome, verdict.n, verdict.end.metric, verdict.method) == ("cured", 3, "final_accuracy", "t")
    assert verdict.end.mean_difference == pytest.approx(0.3245)
    assert [(trial.finding, trial.verdict) for trial in store.trials(job.id)] == [("learning_rate_small", verdict)]


def test_diverged_runs_count_as_chance_and_other_failures_leave_their_seed_out(store, job, train):
    sweep = tried(store, job, repeats=4)
    train(DIVERGED, 9440, DIVERGED, 9450, DIVERGED, 9445, Failure("timed_out", "too long"), 9450)

    verdict = store.verdict(store.sweep(sweep.id))
    assert (verdict.n, verdict.diverged, verdict.left_out) == (3, (3, 0), 1)
    assert verdict.end.means == pytest.approx((0.1, 0.9445))


def test_a_retried_job_counts_in_place_of_the_failed_one(store, job, train):
    sweep = tried(store, job, repeats=3)
    train(6200, 9440, 6210, 9450, 6190, Failure("worker_crashed", "three times"))
    assert store.verdict(store.sweep(sweep.id)).left_out == 1

    store.retry_sweep(sweep.id)
    assert store.verdict(store.sweep(sweep.id)) is None
    train(9445)
    assert (store.verdict(store.sweep(sweep.id)).n, store.verdict(store.sweep(sweep.id)).left_out) == (3, 0)


def test_a_neuron_without_random_numbers_is_decided_exactly(store, submit, claim):
    neuron = submit({"experiment": "neuron", "loss": "quadratic"})
    sweep = tried(store, neuron, Proposal("output_saturated_quadratic", {"loss": "cross_entropy"}))
    finish(store, claim(), RESULT)
    for output in (0.2, 0.012):
        finish(store, claim(), RESULT.model_copy(update={"final_output": output}))

    verdict = store.verdict(store.sweep(sweep.id))
    assert (verdict.outcome, verdict.method, verdict.end.metric, verdict.n) == ("cured", "exact", "target_distance", 1)
    assert verdict.end.interval == pytest.approx((-0.188, -0.188))


def test_a_sweep_that_is_no_trial_has_no_verdict(store, claim):
    sweep = store.submit_sweep(SweepSubmission.model_validate({"spec": {"experiment": "neuron"}})).sweep
    finish(store, claim(), RESULT)

    assert (sweep.trial, store.verdict(store.sweep(sweep.id))) == (None, None)


def test_a_trial_is_unlinked_when_its_sweep_is_deleted_and_outlives_its_job(store, job, train, jobs_of, opened):
    sweep = tried(store, job, repeats=3)
    train(6200, 9440, 6210, 9450, 6190, 9445)
    store.delete(job.id)
    assert store.verdict(store.sweep(sweep.id)).outcome == "cured"

    for each in jobs_of(sweep.id):
        store.delete(each.id)
    assert store.trials(job.id) == []
    with opened().read() as tx:
        assert tx.execute(select(trials)).all() == []


def test_a_trial_repeated_with_its_key_is_the_first_answer_again(store, job, train):
    asked = request(finding="learning_rate_small", repeats=3)
    first = store.submit_trial(job.id, asked, lambda: FASTER, idempotency_key="k")
    train(6200, 9440)

    def never() -> Proposal:
        raise AssertionError("a repeated request must not be diagnosed again")

    again = store.submit_trial(job.id, asked, never, idempotency_key="k")
    assert (first.replayed, again.replayed, again.sweep) == (False, True, first.sweep)
    for other in (request(repeats=3), request(finding="learning_rate_small", repeats=4)):
        with pytest.raises(IdempotencyKeyReused):
            store.submit_trial(job.id, other, never, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        store.submit_trial("job_0", asked, never, idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        store.submit_sweep(first.sweep.submission, idempotency_key="k")


def test_a_key_of_a_sweep_is_none_of_a_trial(store, job):
    store.submit_sweep(SweepSubmission.model_validate({"spec": {"experiment": "neuron"}}), idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        store.submit_trial(job.id, request(), lambda: FASTER, idempotency_key="k")


def test_of_two_trials_with_one_key_at_the_same_time_one_is_queued(store, job):
    asked, ready, made = request(repeats=3), threading.Barrier(2), []

    def proposal() -> Proposal:
        ready.wait(60)
        return FASTER

    def submit() -> None:
        made.append(store.submit_trial(job.id, asked, proposal, idempotency_key="k"))

    threads = [threading.Thread(target=submit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(each.replayed for each in made) == [False, True]
    assert made[0].sweep == made[1].sweep
    assert len(store.sweeps().items) == 1


def extended(store, sweep_id: str, repeats: int) -> Sequence[int]:
    sweep = store.extend_trial(sweep_id, repeats)
    return sweep.submission.repeats, sweep.total, sweep.trial.look


def test_an_ended_trial_takes_further_seeds_as_often_as_it_was_planned_to_be_looked_at(store, job, train, jobs_of):
    sweep = tried(store, job, repeats=4, looks=2)
    train(6200, 9000, 6210, 5000, 6190, 9440, 6200, 9430)
    assert store.verdict(store.sweep(sweep.id)).outcome == "undecided"

    assert extended(store, sweep.id, 6) == (6, 12, 2)
    assert [(each.cell, each.repeat, each.spec.seed) for each in jobs_of(sweep.id)[8:]] == [
        (0, 4, 11),
        (1, 4, 11),
        (0, 5, 12),
        (1, 5, 12),
    ]
    # The same request once more changes nothing.
    assert extended(store, sweep.id, 6) == (6, 12, 2)
    assert store.verdict(store.sweep(sweep.id)) is None
    train(6200, 9440, 6200, 9440)
    verdict = store.verdict(store.sweep(sweep.id))
    assert (verdict.n, verdict.level, verdict.looks) == (6, 0.975, 2)
    with pytest.raises(TrialNotExtendable, match="planned for 2 looks and has had 2"):
        store.extend_trial(sweep.id, 8)


def test_a_trial_that_was_extended_is_still_the_answer_to_its_key_as_it_was_first(store, job, train):
    asked = request(repeats=4, looks=4)
    first = store.submit_trial(job.id, asked, lambda: FASTER, idempotency_key="k").sweep
    train(*[6000] * 8)
    store.extend_trial(first.id, 5)

    assert store.submit_trial(job.id, asked, lambda: FASTER, idempotency_key="k").sweep == first


def test_what_is_no_ended_trial_takes_no_further_seeds(store, job, train):
    plain = store.submit_sweep(SweepSubmission.model_validate({"spec": {"experiment": "neuron"}})).sweep
    with pytest.raises(TrialNotExtendable, match="is no trial"):
        store.extend_trial(plain.id, 6)
    with pytest.raises(SweepNotFound):
        store.extend_trial("swp_0", 6)
    store.cancel_sweep(plain.id)

    sweep = tried(store, job, repeats=3, looks=2)
    with pytest.raises(TrialNotExtendable, match="has not ended"):
        store.extend_trial(sweep.id, 6)
    train(*[6000] * 6)
    with pytest.raises(InvalidRequest) as caught:
        store.extend_trial(sweep.id, 2)
    assert [error.pointer for error in caught.value.errors] == ["/repeats"]


def learned(store, claim, *accuracies: float) -> None:
    """Claim a network, and end it with these accuracies after its epochs."""
    held = claim()
    for epoch, accuracy in enumerate(accuracies):
        record(store, held, progress(epoch + 1), Curve(epoch, {"cost": [0.1], "accuracy": [accuracy]}))
    finish(store, held, mnist_result(round(10_000 * accuracies[-1])))


def test_a_change_that_learns_at_once_cures_although_both_end_alike(store, submit, claim):
    job = submit({"experiment": "mnist", "epochs": 3, "learning_rate": 0.01, "seed": 7})
    sweep = tried(store, job, repeats=4)
    learned(store, claim, 0.1, 0.6, 0.93)
    for seed in range(4):
        learned(store, claim, 0.1, 0.6 + 0.01 * seed, 0.935)
        learned(store, claim, 0.91, 0.925, 0.936)

    [trial] = store.trials(job.id)
    verdict = store.verdict(store.sweep(sweep.id))
    assert trial.verdict == verdict
    assert (verdict.outcome, verdict.deciding.metric, verdict.level) == ("cured", "mean_accuracy", 0.975)
    assert verdict.deciding.means == pytest.approx((0.55, 0.923667), abs=1e-6)
    assert verdict.end.outcome == "no_difference"


def test_only_the_end_is_judged_if_the_change_trains_longer_or_a_curve_is_too_long(store, submit, claim, monkeypatch):
    job = submit({"experiment": "mnist", "epochs": 2, "learning_rate": 0.01, "seed": 7})
    longer = tried(store, job, Proposal("too_few_updates", {"epochs": 3}), repeats=4)
    alike = tried(store, job, repeats=4)
    learned(store, claim, 0.1, 0.6)
    for _ in range(4):
        learned(store, claim, 0.1, 0.6)
        learned(store, claim, 0.3, 0.6, 0.8)
    for _ in range(8):
        learned(store, claim, 0.1, 0.6)

    longer, alike = (store.sweep(sweep.id) for sweep in (longer, alike))
    assert (store.verdict(longer).outcome, store.verdict(longer).course) == ("helped", None)
    assert store.verdict(alike).course.means == pytest.approx((0.35, 0.35))
    monkeypatch.setattr("costcurve.store.trials._MOST_POINTS", 15)
    assert (store.verdict(alike).outcome, store.verdict(alike).course) == ("no_difference", None)
    assert store.verdict(alike).level == 0.95


def test_a_neuron_that_learns_at_once_and_ends_alike_is_cured_exactly(store, submit, claim):
    neuron = submit({"experiment": "neuron", "loss": "quadratic", "epochs": 3})
    sweep = tried(store, neuron, Proposal("output_saturated_quadratic", {"loss": "cross_entropy"}))
    finish(store, claim(), RESULT)
    for outputs in ([0.98, 0.97, 0.5, 0.005], [0.98, 0.01, 0.005, 0.001]):
        held = claim()
        # The curve may come in chunks.
        record(store, held, progress(1), Curve(0, {"cost": outputs[:2], "output": outputs[:2]}))
        record(store, held, progress(3), Curve(2, {"cost": outputs[2:], "output": outputs[2:]}))
        finish(store, held, RESULT.model_copy(update={"final_output": outputs[-1]}))

    verdict = store.verdict(store.sweep(sweep.id))
    assert (verdict.outcome, verdict.method, verdict.deciding.metric) == ("cured", "exact", "mean_target_distance")
    assert verdict.deciding.means == pytest.approx((1.475 / 3, 0.016 / 3))
