"""Forks: the same job up to an epoch, with another loss, reduction or learning rate from there on."""

import pytest

from costcurve.core.errors import IdempotencyKeyReused, InvalidRequest, JobNotFound
from costcurve.core.spec import phase_at
from costcurve.core.submission import Clone, Fork
from costcurve.store.pagination import JobQuery

SLOW = {"experiment": "mnist", "loss": "quadratic", "epochs": 10}


def fork(at_epoch: int, spec: dict | None = None, **fields: object) -> Fork:
    return Fork.model_validate({"at_epoch": at_epoch, "spec": spec or {"loss": "cross_entropy"}, **fields})


def changes(job) -> list[tuple]:
    return [(change.from_epoch, change.loss, change.learning_rate) for change in job.spec.schedule]


def test_a_fork_is_its_parent_with_one_more_change(store, submit):
    parent = submit(SLOW, name="slow", tags={"a": "b"}, priority=70, device="cpu")
    found = store.fork(parent.id, fork(5)).job

    assert found.spec.model_copy(update={"schedule": ()}) == parent.spec
    assert changes(found) == [(5, "cross_entropy", 3.0)]
    assert phase_at(found.spec, 5).effective_learning_rate == 0.3
    assert (found.name, found.tags, found.priority, found.device) == ("slow", {"a": "b"}, 70, "cpu")
    assert (found.parent_id, parent.parent_id) == (parent.id, None)
    assert [event.why for event in store.events(found.id)] == [f"submitted as a fork of {parent.id} at epoch 5"]


def test_a_fork_keeps_the_changes_of_its_parent_that_come_before_it_and_drops_the_others(store, submit):
    parent = submit({**SLOW, "schedule": [{"from_epoch": at, "learning_rate": at / 10} for at in (2, 5, 8)]})

    assert changes(store.fork(parent.id, fork(4)).job) == [(2, "quadratic", 0.2), (4, "cross_entropy", 0.2)]
    assert changes(store.fork(parent.id, fork(5)).job) == [(2, "quadratic", 0.2), (5, "cross_entropy", 0.2)]
    assert len(changes(store.fork(parent.id, fork(9)).job)) == 4


def test_a_fork_may_be_forked_and_cloned(store, submit):
    first = store.fork(submit(SLOW).id, fork(3)).job
    again = store.fork(first.id, fork(6, {"learning_rate": 1.0})).job
    faster = store.clone(again.id, Clone.model_validate({"spec": {"learning_rate": 0.5}})).job
    plain = store.clone(again.id, Clone.model_validate({"spec": {"schedule": []}})).job

    assert changes(again) == [(3, "cross_entropy", 3.0), (6, "cross_entropy", 1.0)]
    # As the change at epoch 3 gave no rate, the clone's holds there, too.
    assert changes(faster) == [(3, "cross_entropy", 0.5), (6, "cross_entropy", 1.0)]
    assert changes(plain) == []


def test_a_fork_is_placed_as_its_client_wants(store, submit):
    parent = submit(SLOW, name="slow", tags={"a": "b"})
    found = store.fork(parent.id, fork(5, name=None, tags={}, engine="autograd", priority=1)).job

    assert (found.name, found.tags, found.engine, found.priority) == (None, {}, "autograd", 1)


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        (fork(10), "/at_epoch"),
        (fork(5, {"loss": "quadratic"}), "/spec"),
        (fork(5, {"loss": None}), "/spec"),
        (fork(5, {"reduction": "mean_outputs"}), "/spec/reduction"),
        (fork(5, engine="neuron_pack"), "/engine"),
    ],
)
def test_a_fork_that_does_not_fit_its_parent_is_refused_by_name_and_queues_nothing(store, submit, given, pointer):
    parent = submit(SLOW)

    with pytest.raises(InvalidRequest) as caught:
        store.fork(parent.id, given)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert len(store.list(JobQuery()).items) == 1


def test_an_unknown_job_has_no_fork(store):
    with pytest.raises(JobNotFound):
        store.fork("job_0", fork(5))


def test_a_forks_key_is_its_own(store, submit):
    parent = submit(SLOW)
    first = store.fork(parent.id, fork(5), idempotency_key="k")
    again = store.fork(parent.id, fork(5), idempotency_key="k")

    assert (first.replayed, again.replayed, again.job) == (False, True, first.job)
    with pytest.raises(IdempotencyKeyReused):
        store.fork(parent.id, fork(6), idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        store.clone(parent.id, Clone(), idempotency_key="k")
    assert len(store.list(JobQuery()).items) == 2
