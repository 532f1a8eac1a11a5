"""Clones: the same job once more, with what its client wants otherwise."""

import pytest

from costcurve.core.errors import IdempotencyKeyReused, InvalidRequest, JobNotFound
from costcurve.core.status import JobStatus
from costcurve.core.submission import Clone, JobChanges
from costcurve.store.pagination import JobQuery
from tests.helpers.reports import RESULT, points, progress
from tests.helpers.writing import finish, record


def clone(**fields: object) -> Clone:
    return Clone.model_validate(fields)


def test_a_clone_is_the_same_job_anew(store, submit, claim):
    original = submit(
        {"experiment": "neuron", "loss": "quadratic", "epochs": 7, "seed": 3},
        name="first",
        tags={"team": "blue"},
        priority=70,
        device="cpu",
        max_runtime_seconds=60.0,
    )
    held = claim()
    record(store, held, progress(2), points(0, 1.0, 0.5), checkpoint="at-2")
    finish(store, held, RESULT)
    twin = store.clone(original.id, clone()).job

    assert (twin.spec, twin.spec_hash) == (original.spec, original.spec_hash)
    assert (twin.name, twin.tags, twin.priority) == ("first", {"team": "blue"}, 70)
    assert (twin.device, twin.engine, twin.max_runtime_seconds) == ("cpu", "auto", 60.0)
    assert twin.id != original.id
    assert (twin.parent_id, original.parent_id) == (original.id, None)
    assert (twin.status, twin.version, twin.attempt, twin.result) == (JobStatus.QUEUED, 1, 1, None)
    assert store.curve(twin.id, limit=10).total_points == 0
    assert [event.why for event in store.events(twin.id)] == [f"submitted as a clone of {original.id}"]
    assert claim().checkpoint is None


def test_what_a_clones_client_wants_otherwise_is_otherwise_and_the_rest_is_the_same(store, submit):
    original = submit({"experiment": "neuron", "epochs": 7, "target": 0.25}, name="first", tags={"a": "b"}, priority=70)
    twin = store.clone(original.id, clone(spec={"epochs": 9}, name=None, tags={}, device="cuda", priority=1)).job

    assert (twin.spec.epochs, twin.spec.target) == (9, 0.25)
    assert (twin.name, twin.tags, twin.device, twin.priority) == (None, {}, "cuda", 1)
    assert store.get(original.id).spec == original.spec


def test_a_field_that_followed_from_another_follows_again_in_a_clone(store, submit):
    original = submit({"experiment": "mnist", "loss": "cross_entropy"})
    assert (original.spec.reduction, original.spec.effective_learning_rate) == ("mean_outputs", 0.3)

    quadratic = store.clone(original.id, clone(spec={"loss": "quadratic"})).job
    assert (quadratic.spec.reduction, quadratic.spec.effective_learning_rate) == ("sum_outputs", 3.0)
    faster = store.clone(original.id, clone(spec={"learning_rate": 1.0})).job
    assert (faster.spec.reduction, faster.spec.effective_learning_rate) == ("mean_outputs", 0.1)
    back = store.clone(quadratic.id, clone(spec={"loss": "cross_entropy"})).job
    assert back.spec == original.spec


def test_a_field_that_was_set_on_purpose_stays_set_in_a_clone(store, submit):
    original = submit({"experiment": "mnist", "reduction": "sum_outputs", "learning_rate": 0.5})
    twin = store.clone(original.id, clone(spec={"learning_rate": 1.0})).job

    assert (twin.spec.reduction, twin.spec.effective_learning_rate) == ("sum_outputs", 1.0)


def test_a_clone_gets_the_engine_and_device_that_were_asked_for_not_those_that_were_used(store, submit, claim):
    original = submit()
    claim()
    assert store.get(original.id).engine == "autograd"

    twin = store.clone(original.id, clone()).job
    assert (twin.engine, twin.device) == ("auto", "auto")


@pytest.mark.parametrize(
    ("spec", "pointers"),
    [
        ({"epochs": 0}, {"/spec/epochs"}),
        ({"epochs": "9", "seed": -1}, {"/spec/epochs", "/spec/seed"}),
        ({"momentum": 0.9}, {"/spec/momentum"}),
        ({"loss": "quadratic", "reduction": "mean_outputs"}, {"/spec/reduction"}),
        ({"layers": [784, 30, 9]}, {"/spec/layers/2"}),
        ({"layers": [784, 10], "init": {"scheme": "normal", "std": [1.0, 1.0]}}, {"/spec/init/std"}),
        ({"init": None}, {"/spec/init"}),
        ({"experiment": "other"}, {"/spec/experiment"}),
        ({"effective_learning_rate": 1.0}, {"/spec/effective_learning_rate"}),
    ],
)
def test_overrides_that_make_no_job_are_refused_by_name_and_queue_nothing(store, submit, spec, pointers):
    original = submit({"experiment": "mnist"})

    with pytest.raises(InvalidRequest) as caught:
        store.clone(original.id, clone(spec=spec))
    assert {error.pointer for error in caught.value.errors} == pointers
    assert len(store.list(JobQuery()).items) == 1


def test_an_unknown_job_has_no_clone(store):
    with pytest.raises(JobNotFound):
        store.clone("job_0", clone())


def test_a_clone_repeated_with_its_key_is_the_first_answer_again(store, submit, claim):
    original = submit(name="first")
    overrides = clone(spec={"epochs": 9})
    first = store.clone(original.id, overrides, idempotency_key="k")
    finish(store, claim(), RESULT)
    finish(store, claim(), RESULT)
    again = store.clone(original.id, overrides, idempotency_key="k")

    assert (first.replayed, again.replayed) == (False, True)
    assert again.job == first.job
    assert len(store.list(JobQuery()).items) == 2


def test_a_clones_key_is_not_another_clones_nor_another_jobs_nor_a_submissions(store, submit):
    original, other = submit(), submit()
    store.clone(original.id, clone(), idempotency_key="k")

    with pytest.raises(IdempotencyKeyReused):
        store.clone(original.id, clone(name="other"), idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        store.clone(other.id, clone(), idempotency_key="k")
    assert len(store.list(JobQuery()).items) == 3


def test_a_clone_outlives_its_original(store, submit):
    original = submit()
    twin = store.clone(original.id, clone()).job
    store.cancel(original.id)
    store.delete(original.id)

    assert store.get(twin.id).parent_id == original.id


def test_a_repeated_clone_is_the_first_answer_again_though_the_original_was_changed_or_deleted(store, submit):
    original = submit(name="first")
    first = store.clone(original.id, clone(), idempotency_key="k").job
    store.update(original.id, JobChanges.model_validate({"name": "second", "priority": 1}))
    assert store.clone(original.id, clone(), idempotency_key="k").job == first
    store.cancel(original.id)
    store.delete(original.id)
    assert store.clone(original.id, clone(), idempotency_key="k").job == first
