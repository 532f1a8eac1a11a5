"""What belongs to another project is, for every method of the store for clients, as if it did not exist."""

import inspect
from collections.abc import Callable
from dataclasses import replace

import pytest

from costcurve.core.access import Scope
from costcurve.core.errors import ApiError
from costcurve.core.submission import Clone, Fork, JobChanges, Submission
from costcurve.core.sweep import SweepSubmission
from costcurve.core.trial import Proposal, TrialRequest
from costcurve.store import JobStore
from costcurve.store.base import OnDatabase
from costcurve.store.jobs import ForClients
from costcurve.store.models import ForModels
from costcurve.store.pagination import CellQuery, JobQuery
from costcurve.store.trials import ForTrials
from tests.helpers.reports import CPU, ENGINES, choose, mnist_result, points, progress
from tests.helpers.writing import finish, record

NEURON = {"experiment": "neuron"}
PROPOSAL = Proposal("plateau", {"learning_rate": 0.2})

# Methods that are asked for a job, by what they are given besides its id.
OF_A_JOB: dict[str, Callable[[JobStore, str], object]] = {
    "get": lambda store, job_id: store.get(job_id),
    "get_all": lambda store, job_id: store.get_all([job_id]),
    "versions": lambda store, job_id: store.versions([job_id]),
    "cancel": lambda store, job_id: store.cancel(job_id),
    "pause": lambda store, job_id: store.pause(job_id),
    "resume": lambda store, job_id: store.resume(job_id),
    "update": lambda store, job_id: store.update(job_id, JobChanges(name="mine")),
    "delete": lambda store, job_id: store.delete(job_id),
    "events": lambda store, job_id: store.events(job_id),
    "clone": lambda store, job_id: store.clone(job_id, Clone()),
    "fork": lambda store, job_id: store.fork(job_id, Fork(at_epoch=1, spec={"learning_rate": 0.1})),
    "curve": lambda store, job_id: store.curve(job_id, limit=10),
    "curve_heads": lambda store, job_id: store.curve_heads([job_id], granularity="epoch"),
    "start": lambda store, job_id: store.start(job_id),
    "starts": lambda store, job_id: store.starts([job_id]),
    "model": lambda store, job_id: store.model(job_id),
    "ensure_kept": lambda store, job_id: store.ensure_kept(job_id),
    "confusion": lambda store, job_id: store.confusion(job_id),
    "mistakes": lambda store, job_id: store.mistakes(job_id),
    "submit_trial": lambda store, job_id: store.submit_trial(job_id, TrialRequest(), lambda: PROPOSAL),
    "trials": lambda store, job_id: store.trials(job_id),
}
OF_A_SWEEP: dict[str, Callable[[JobStore, str], object]] = {
    "sweep": lambda store, sweep_id: store.sweep(sweep_id),
    "cells": lambda store, sweep_id: store.cells(sweep_id, CellQuery()),
    "cancel_sweep": lambda store, sweep_id: store.cancel_sweep(sweep_id),
    "retry_sweep": lambda store, sweep_id: store.retry_sweep(sweep_id),
    "extend_trial": lambda store, sweep_id: store.extend_trial(sweep_id, 9),
}
# Methods that take no id; each has a test of its own below.
OF_THE_PROJECT = {"submit", "submit_sweep", "list", "sweeps", "workers", "curve_chunks", "verdict"}
SHARED = {name for name in vars(OnDatabase) if not name.startswith("_")}


@pytest.fixture
def stranger(store):
    """The store of a caller of another project, without the scope `admin`."""
    store.create_project("other")
    _, secret = store.create_key("other", name="a stranger", scopes=(Scope.READ, Scope.SUBMIT))
    caller = store.authenticate(secret)
    assert caller is not None
    return store.for_caller(caller)


def what_becomes_of(ask: Callable[[JobStore, str], object], store: JobStore, owned: str) -> object:
    """The answer, or the error with its text; the id, as given, is left out."""
    try:
        return ask(store, owned)
    except ApiError as error:
        return type(error), error.detail.replace(owned, "ID"), error.errors, error.headers


def test_every_method_for_clients_is_tried_with_the_id_of_another_project():
    methods = {
        name
        for part in (ForClients, ForModels, ForTrials)
        for name, _ in inspect.getmembers(part, inspect.isfunction)
        if not name.startswith("_")
    }

    assert methods - SHARED == OF_A_JOB.keys() | OF_A_SWEEP.keys() | OF_THE_PROJECT


@pytest.mark.parametrize("method", OF_A_JOB)
def test_a_job_of_another_project_does_not_exist(store, stranger, submit, claim, statements, method):
    ended, running, waiting = submit({"experiment": "mnist"}), submit(), submit()
    finish(store, claim(), mnist_result(9_000))
    record(store, claim(), progress(1), points(0, 1.0, 0.5))
    before = [store.get(job.id) for job in (ended, running, waiting)]

    statements.clear()
    missing = what_becomes_of(OF_A_JOB[method], stranger, "job_0123456789abcdef0123")
    asked = dict(statements)
    for job in before:
        statements.clear()
        assert what_becomes_of(OF_A_JOB[method], stranger, job.id) == missing
        assert statements == asked
    assert [store.get(job.id) for job in before] == before


@pytest.mark.parametrize("method", OF_A_SWEEP)
def test_a_sweep_of_another_project_does_not_exist(store, stranger, submit, statements, method):
    sweep = store.submit_sweep(SweepSubmission(spec=NEURON, repeats=2)).sweep
    trial = store.submit_trial(submit().id, TrialRequest(), lambda: PROPOSAL).sweep

    statements.clear()
    missing = what_becomes_of(OF_A_SWEEP[method], stranger, "swp_0123456789abcdef0123")
    asked = dict(statements)
    for each in (sweep, trial):
        statements.clear()
        assert what_becomes_of(OF_A_SWEEP[method], stranger, each.id) == missing
        assert statements == asked
        assert store.sweep(each.id) == each
    assert stranger.verdict(replace(trial, counts={**trial.counts, "queued": 0})) is None


def test_lists_hold_what_belongs_to_the_project(store, stranger, submit, claim):
    tested = submit(tags={"a": "b"})
    sweep = store.submit_sweep(SweepSubmission(spec=NEURON, repeats=2)).sweep
    trial = store.submit_trial(tested.id, TrialRequest(), lambda: PROPOSAL).sweep
    own = stranger.submit(Submission.model_validate({"spec": NEURON})).job

    assert [job.id for job in stranger.list(JobQuery()).items] == [own.id]
    assert stranger.list(JobQuery(sweep_id=sweep.id)).items == ()
    assert stranger.list(JobQuery(tags=(("a", "b"),))).items == ()
    assert stranger.sweeps().items == ()
    assert {each.id for each in store.sweeps().items} == {sweep.id, trial.id}
    assert own.id not in {job.id for job in store.list(JobQuery()).items}
    heads = store.curve_heads([tested.id], granularity="epoch")
    with pytest.raises(ApiError, match="there is no job"):
        stranger.curve_chunks(heads, start=0, end=10)


def test_idempotency_keys_belong_to_the_project(store, stranger):
    job, other = (Submission.model_validate({"spec": {**NEURON, "seed": seed}}) for seed in (1, 2))
    sweep = SweepSubmission(spec=NEURON)
    first = store.submit(job, idempotency_key="key").job
    first_sweep = store.submit_sweep(sweep, idempotency_key="key").sweep

    for submission in (job, other):
        theirs = stranger.submit(submission, idempotency_key=f"key{submission.spec.seed - 1 or ''}")
        assert not theirs.replayed
        assert theirs.job.id != first.id
    assert stranger.submit(job, idempotency_key="key").replayed
    assert not stranger.submit_sweep(sweep, idempotency_key="key").replayed
    assert store.submit(job, idempotency_key="key").job.id == first.id
    assert store.submit_sweep(sweep, idempotency_key="key").sweep.id == first_sweep.id


def test_the_place_in_the_queue_tells_nothing_of_other_projects(store, stranger, submit, worker):
    for _ in range(3):
        submit()
    mine = [stranger.submit(Submission.model_validate({"spec": NEURON})).job.id for _ in range(2)]

    seen = stranger.get_all(mine)

    assert [job.queue_position for job in seen] == [1, 2]
    assert [job.status_reason for job in seen] == ["next in line for a free worker", "1 job is before it"]


def test_workers_show_other_projects_jobs_to_admins_only(store, stranger, submit, claim):
    job = submit()
    claim()

    [seen], [by_admin] = stranger.workers(), store.workers()

    assert (seen.host, seen.pid, seen.job_ids) == (None, None, ())
    assert (by_admin.host, by_admin.pid, by_admin.job_ids) == ("here", 1, (job.id,))


def test_a_cursor_tells_no_number_and_is_of_no_use_to_another_project(store, stranger, submit):
    for _ in range(3):
        submit()
        stranger.submit(Submission.model_validate({"spec": NEURON}))
        store.submit_sweep(SweepSubmission(spec=NEURON))
        stranger.submit_sweep(SweepSubmission(spec=NEURON))

    with pytest.raises(ApiError, match="not a cursor"):
        stranger.list(JobQuery(cursor=store.list(JobQuery(limit=1)).next_cursor))
    with pytest.raises(ApiError, match="not a cursor"):
        stranger.sweeps(cursor=store.sweeps(limit=1).next_cursor)


def test_events_name_the_key(store, stranger, submit):
    own = stranger.submit(Submission.model_validate({"spec": NEURON})).job
    stranger.cancel(own.id)

    assert [event.by for event in stranger.events(own.id)] == ["a stranger", "a stranger"]
    assert store.events(submit().id)[0].by == "client"


def test_a_job_that_derives_from_another_belongs_to_the_same_project(store, stranger):
    own = stranger.submit(Submission.model_validate({"spec": NEURON})).job
    clone = stranger.clone(own.id, Clone()).job
    fork = stranger.fork(own.id, Fork(at_epoch=1, spec={"learning_rate": 0.1})).job
    trial = stranger.submit_trial(own.id, TrialRequest(), lambda: PROPOSAL).sweep

    assert {own.id, clone.id, fork.id} < {job.id for job in stranger.list(JobQuery()).items}
    assert stranger.sweep(trial.id) == trial
    assert store.list(JobQuery()).items == ()


def test_a_claim_takes_the_next_job_of_the_project_with_the_fewest_running_jobs(store, stranger, submit, hire):
    many = [submit().id for _ in range(40)]
    urgent = submit(priority=90).id
    single = stranger.submit(Submission.model_validate({"spec": NEURON})).job.id
    later = stranger.submit(Submission.model_validate({"spec": NEURON})).job.id

    claimed = [
        held.job_id for _ in range(5) for held in store.claim(hire(), engines=ENGINES, devices=CPU, choose=choose())
    ]

    assert claimed == [urgent, single, many[0], later, many[1]]
