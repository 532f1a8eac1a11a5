"""A submission that comes again with its idempotency key is answered with the bytes of the first response."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Column, Float, Integer, event, update

from costcurve.core.job import ExecProfile, Failure
from costcurve.core.submission import Submission
from costcurve.store import JobStore
from costcurve.store.job_update import JobUpdate
from costcurve.store.schema import UtcTime, jobs
from tests.helpers.reports import mnist_result, model, points, progress
from tests.helpers.writing import confirm_cancel, confirm_pause, fail, hand_back, record, written

SPEC = {"experiment": "mnist", "init": {"scheme": "normal", "std": [10, 1]}, "epochs": 3}
JOB = {
    "spec": SPEC,
    "name": "Größe",
    "tags": {"b": "1", "a": "2"},
    "priority": 70,
    "engine": "autograd",
    "max_runtime_seconds": 60,
}
SWEEP = {"spec": {"experiment": "neuron"}, "grid": {"seed": [3, 1]}, "repeats": 1, "tags": {"b": "1", "a": "2"}}
PROFILE = ExecProfile(engine="autograd", device="cpu", instruction_set="avx2", threads=1, versions={"torch": "2"})
KEY = {"Idempotency-Key": "k"}
# What a job is given when it is submitted, and keeps for ever.
FIXED = {
    *("pk", "id", "experiment", "loss", "spec", "spec_hash", "pack_key", "max_runtime_seconds", "created_at"),
    *("requested_engine", "requested_device", "parent_id", "sweep_id", "cell", "repeat"),
}


def test_a_replay_has_the_bytes_of_the_first_response_in_every_later_state(http, store, hire, claim_as):
    first = http.post("/v1/jobs", json=JOB, headers=KEY)
    job_id = first.json()["id"]

    def check(state: str) -> None:
        again = http.post("/v1/jobs", json=JOB, headers=KEY)
        assert (again.status_code, again.content) == (201, first.content), state
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotent-replayed"] == "true"
        assert store.get(job_id).status == state

    check("queued")
    http.patch(f"/v1/jobs/{job_id}", json={"name": "other", "tags": {"c": "3"}, "priority": 1, "pinned": True})
    check("queued")
    http.post(f"/v1/jobs/{job_id}/pause")
    check("paused")
    http.post(f"/v1/jobs/{job_id}/resume")
    [held] = claim_as(hire())
    check("running")
    record(store, held, progress(2), points(0, 1.0, 0.5), checkpoint="at-2")
    check("running")
    http.post(f"/v1/jobs/{job_id}/pause")
    confirm_pause(store, held)
    check("paused")
    http.post(f"/v1/jobs/{job_id}/resume")
    hand_back(store, *claim_as(hire()), reason="told to stop")
    check("queued")
    crashed = hire()
    claim_as(crashed)
    store.retire_worker(crashed, reason="it died", crashed=True)
    check("queued")
    [held] = claim_as(hire())
    http.post(f"/v1/jobs/{job_id}/cancel")
    check("running")
    confirm_cancel(store, held)
    check("cancelled")


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_replay_has_the_bytes_of_the_first_response_when_the_job_has_ended(http, store, claim, end):
    first = http.post("/v1/jobs", json=JOB, headers=KEY)
    held = claim()
    if end == "failed":
        fail(store, held, Failure("diverged", "no longer finite"))
    else:
        written(store, JobUpdate(held, progress(1), points(0, 1.0), outcome=mnist_result(9000), model=model()))

    assert http.post("/v1/jobs", json=JOB, headers=KEY).content == first.content
    assert store.get(first.json()["id"]).status == end


def test_a_replayed_clone_has_the_bytes_of_the_first_response(http, store, claim):
    original = http.post("/v1/jobs", json=JOB).json()["id"]
    store.cancel(original)

    def clone() -> bytes:
        return http.post(f"/v1/jobs/{original}/clone", json={"spec": {"epochs": 2}}, headers=KEY).content

    first = clone()
    record(store, claim(), progress(1), points(0, 1.0), checkpoint="at-1")
    http.patch(f"/v1/jobs/{original}", json={"tags": {"z": "9"}, "name": None})
    assert clone() == first
    http.delete(f"/v1/jobs/{original}")
    assert clone() == first


def test_a_replayed_sweep_has_the_bytes_of_the_first_response_in_every_later_state(http, store, hire, claim_as):
    first = http.post("/v1/sweeps", json=SWEEP, headers=KEY)
    sweep_id = first.json()["id"]

    def check() -> None:
        assert http.post("/v1/sweeps", json=SWEEP, headers=KEY).content == first.content

    check()
    [failing, _] = claim_as(hire(), limit=2)
    check()
    fail(store, failing, Failure("diverged", "no longer finite"))
    check()
    http.post(f"/v1/sweeps/{sweep_id}/retry")
    check()
    http.post(f"/v1/sweeps/{sweep_id}/cancel")
    check()
    http.delete(f"/v1/jobs/{failing.job_id}")
    check()


def test_nothing_that_changes_of_a_job_changes_a_replay(store, opened):
    submission = Submission.model_validate(JOB)
    first = store.submit(submission, idempotency_key="k").job
    database = opened()
    for column in jobs.columns:
        if column.name in FIXED:
            continue
        with database.write() as tx:
            tx.execute(update(jobs).values({column: _another(column)}))

        assert store.submit(submission, idempotency_key="k").job == first, column.name


def _another(column: Column[Any]) -> Any:
    """Return a value that no job has when it is submitted."""
    match column.name:
        case "exec_profile":
            return PROFILE.model_dump()
        case "result":
            return mnist_result(9000).model_dump()
        case "status":
            return "succeeded"
    match column.type:
        case UtcTime():
            return datetime(2030, 1, 1, tzinfo=UTC)
        case Boolean():
            return True
        case Integer():
            return 17
        case Float():
            return 0.25
        case JSON():
            return {}
    return "another"


def test_a_key_that_comes_again_while_its_job_is_deleted_makes_a_job_or_is_answered_as_before(store, opened):
    """The job is deleted just behind the statement that looks for the key; on SQLite, before and after it."""
    submission = Submission.model_validate(JOB)
    first = store.submit(submission, idempotency_key="k").job
    store.cancel(first.id)
    other = JobStore(opened())
    engine = store._database.engine
    deleted: list[str] = []

    def delete_behind(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM idempotency_keys" in statement and not deleted and engine.dialect.name == "postgresql":
            deleted.append(first.id)
            other.delete(first.id)

    event.listen(engine, "after_cursor_execute", delete_behind)
    assert store.submit(submission, idempotency_key="k").job == first
    if not deleted:
        other.delete(first.id)
    fresh = store.submit(submission, idempotency_key="k")

    assert (fresh.replayed, fresh.job.id != first.id) == (False, True)
