"""What may be done to a job after it was submitted, by HTTP, against a real service process without workers."""

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.core.placement import MAX_TAGS
from tests.helpers.problems import problem

NEURON = {"spec": {"experiment": "neuron"}}


@pytest.fixture
def location(http: httpx.Client) -> str:
    """Where a queued job is."""
    return http.post("/v1/jobs", json={**NEURON, "name": "n", "tags": {"a": "b"}}).headers["location"]


@pytest.fixture
def ended(http: httpx.Client, location: str) -> str:
    """Where a job is that has ended."""
    http.post(f"{location}/cancel")
    return location


def test_a_paused_job_waits_outside_the_queue_until_it_is_resumed(http, location):
    for _ in range(2):
        paused = http.post(f"{location}/pause")
        assert paused.status_code == 202
        job = paused.json()
        assert (job["status"], job["is_terminal"], job["queue_position"]) == ("paused", False, None)
        assert job["status_reason"] == "paused by its client"
    found = http.get("/v1/jobs", params={"status": "paused"}).json()["items"]
    assert location.endswith(found[0]["id"])

    for _ in range(2):
        resumed = http.post(f"{location}/resume")
        assert resumed.status_code == 202
        assert resumed.json()["status"] == "queued"
        assert resumed.json()["queue_position"] >= 1


def test_a_paused_job_can_be_cancelled(http, location):
    http.post(f"{location}/pause")

    assert http.post(f"{location}/cancel").json()["status"] == "cancelled"


@pytest.mark.parametrize(("action", "target"), [("pause", "paused"), ("resume", "queued")])
def test_a_job_that_has_ended_can_be_neither_paused_nor_resumed(http, ended, action, target):
    body = problem(http.post(f"{ended}/{action}"), 409, "invalid_transition")

    assert body["detail"] == f"a cancelled job cannot become {target}"


def test_waiting_jobs_say_how_many_come_first_and_priority_overtakes(http, location):
    urgent = http.post("/v1/jobs", json={**NEURON, "priority": 100}).headers["location"]

    position = http.get(urgent).json()["queue_position"]
    assert position < http.get(location).json()["queue_position"]
    http.patch(urgent, json={"priority": 0})
    assert http.get(urgent).json()["queue_position"] > http.get(location).json()["queue_position"]


def test_a_job_that_has_ended_is_deleted_with_all_that_belongs_to_it(http, ended):
    deleted = http.delete(ended)

    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/events", "/curve"):
        problem(http.get(ended + path), 404, "job_not_found")
    problem(http.delete(ended), 404, "job_not_found")


@pytest.mark.parametrize("action", ["resume", "pause"])
def test_a_job_that_has_not_ended_cannot_be_deleted(http, location, action):
    status = http.post(f"{location}/{action}").json()["status"]

    assert status in problem(http.delete(location), 409, "invalid_transition")["detail"]
    assert http.get(location).status_code == 200


def test_a_change_leaves_alone_what_it_does_not_name(http, location):
    before = http.get(location).json()

    answer = http.patch(location, json={"tags": {"c": "d"}, "pinned": True})
    assert answer.status_code == 200
    job = answer.json()
    assert (job["name"], job["tags"], job["priority"], job["pinned"]) == ("n", {"c": "d"}, 50, True)
    assert job["version"] > before["version"]
    unnamed = http.patch(location, json={"name": None, "tags": {}, "pinned": False}).json()
    assert (unnamed["name"], unnamed["tags"], unnamed["pinned"]) == (None, {}, False)


def test_a_job_that_has_ended_can_still_be_renamed(http, ended):
    job = http.patch(ended, json={"name": "kept", "pinned": True}).json()

    assert (job["status"], job["name"], job["pinned"]) == ("cancelled", "kept", True)


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"priority": 101, "name": ""}, ["/name", "/priority"]),
        ({"priority": None}, ["/priority"]),
        ({"pinned": "yes"}, ["/pinned"]),
        ({"tags": {"a:b": "c"}}, ["/tags/a:b"]),
        ({"tags": {str(number): "" for number in range(MAX_TAGS + 1)}}, ["/tags"]),
        ({"status": "succeeded"}, ["/status"]),
        ([], [""]),
    ],
)
def test_each_bad_field_of_a_change_is_named(http, location, changes, pointers):
    errors = problem(http.patch(location, json=changes), 422, "invalid_request")["errors"]

    assert sorted(error["pointer"] for error in errors) == pointers


def test_a_clone_is_the_same_job_but_for_the_overrides(http, location):
    answer = http.post(f"{location}/clone", json={"spec": {"epochs": 7}, "name": "again"})

    assert answer.status_code == 201
    clone, original = answer.json(), http.get(location).json()
    assert answer.headers["location"] == f"/v1/jobs/{clone['id']}" != location
    assert clone["parent_id"] == original["id"]
    assert original["parent_id"] is None
    assert clone["spec"] == {**original["spec"], "epochs": 7}
    assert (clone["status"], clone["name"], clone["tags"]) == ("queued", "again", {"a": "b"})


@pytest.mark.parametrize("body", [{"content": b""}, {"json": {}}])
def test_a_clone_without_overrides_is_just_the_same(http, location, body):
    clone = http.post(f"{location}/clone", **body)

    assert clone.status_code == 201
    assert clone.json()["spec_hash"] == http.get(location).json()["spec_hash"]


def test_a_clone_repeated_with_its_idempotency_key_makes_no_second_job(http, location):
    def clone(body):
        return http.post(f"{location}/clone", json=body, headers={"Idempotency-Key": f"clone of {location}"})

    first, again = clone({"name": "c"}), clone({"name": "c"})
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    problem(clone({"name": "d"}), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("overrides", "pointers"),
    [
        ({"spec": {"epochs": 0, "layers": [784, 10]}}, ["/spec/epochs", "/spec/layers"]),
        ({"spec": {"learning_rate": None}}, ["/spec/learning_rate"]),
        ({"spec": 3}, ["/spec"]),
        ({"preset": "mnist-quadratic"}, ["/preset"]),
        ({"priority": 101}, ["/priority"]),
    ],
)
def test_each_bad_field_of_a_clone_is_named(http, location, overrides, pointers):
    errors = problem(http.post(f"{location}/clone", json=overrides), 422, "invalid_request")["errors"]

    assert sorted(error["pointer"] for error in errors) == pointers


SLOW = {"spec": {"experiment": "mnist", "loss": "quadratic", "epochs": 10}}


def test_a_fork_is_its_parent_with_a_change_at_its_epoch(http):
    location = http.post("/v1/jobs", json=SLOW).headers["location"]
    answer = http.post(f"{location}/fork", json={"at_epoch": 5, "spec": {"loss": "cross_entropy"}, "name": "rescued"})

    assert answer.status_code == 201
    fork, parent = answer.json(), http.get(location).json()
    change = {
        "from_epoch": 5,
        "loss": "cross_entropy",
        "reduction": "mean_outputs",
        "learning_rate": 3.0,
        "effective_learning_rate": 0.3,
    }
    assert answer.headers["location"] == f"/v1/jobs/{fork['id']}"
    assert (fork["parent_id"], fork["name"]) == (parent["id"], "rescued")
    assert (parent["spec"]["schedule"], fork["spec"]) == ([], {**parent["spec"], "schedule": [change]})


def test_a_fork_repeated_with_its_idempotency_key_makes_no_second_job(http):
    location = http.post("/v1/jobs", json=SLOW).headers["location"]

    def fork(at_epoch):
        body = {"at_epoch": at_epoch, "spec": {"loss": "cross_entropy"}}
        return http.post(f"{location}/fork", json=body, headers={"Idempotency-Key": f"fork of {location}"})

    first, again = fork(5), fork(5)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    problem(fork(6), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/at_epoch", "/spec"]),
        ({"at_epoch": 0, "spec": {"loss": "hinge"}}, ["/at_epoch", "/spec/loss"]),
        ({"at_epoch": 10, "spec": {"loss": "cross_entropy"}}, ["/at_epoch"]),
        ({"at_epoch": 5, "spec": {}}, ["/spec"]),
        ({"at_epoch": 5, "spec": {"epochs": 7}}, ["/spec/epochs"]),
        ({"at_epoch": 5, "spec": {"learning_rate": -1}, "priority": 101}, ["/priority", "/spec/learning_rate"]),
    ],
)
def test_each_bad_field_of_a_fork_is_named(http, body, pointers):
    location = http.post("/v1/jobs", json=SLOW).headers["location"]
    errors = problem(http.post(f"{location}/fork", json=body), 422, "invalid_request")["errors"]

    assert sorted(error["pointer"] for error in errors) == pointers


def test_a_job_that_is_not_there_has_no_fork(http):
    problem(http.post("/v1/jobs/job_0/fork", json={"at_epoch": 5, "spec": {"loss": "quadratic"}}), 404, "job_not_found")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=10), inner),
    max_leaves=10,
)
specs = st.dictionaries(st.sampled_from(["experiment", "loss", "init", "epochs", "seed"]) | st.text(), anything)
changes = st.dictionaries(st.sampled_from(["name", "tags", "priority", "pinned", "device"]), anything)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(spec=specs | anything, fields=changes)
def test_nothing_that_is_sent_as_a_clone_or_as_a_change_is_a_server_error(http, location, spec, fields):
    for method, path, body in (("POST", f"{location}/clone", {"spec": spec, **fields}), ("PATCH", location, fields)):
        answer = http.request(method, path, content=json.dumps(body), headers={"content-type": "application/json"})
        if not answer.is_success:
            assert 400 <= answer.status_code < 500, answer.text
            assert problem(answer, answer.status_code, answer.json()["code"])["errors"]


def test_a_spec_that_is_nested_however_deeply_is_only_a_bad_one(http, location):
    content = '{"spec": {"epochs": ' + "[" * 500 + "]" * 500 + "}}"

    answer = http.post(f"{location}/clone", content=content, headers={"content-type": "application/json"})
    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/spec/epochs"


@pytest.mark.parametrize(("method", "rest"), [("POST", "/clone"), ("PATCH", "")])
def test_overrides_and_changes_must_claim_to_be_json(http, location, method, rest):
    answer = http.request(method, location + rest, content="{}", headers={"content-type": "text/plain"})

    problem(answer, 415, "unsupported_media_type")


def test_events_tell_what_happened_to_a_job_and_why(http, location):
    for action in ("pause", "resume", "cancel"):
        http.post(f"{location}/{action}")

    events = http.get(f"{location}/events").json()["items"]
    assert [(event["from_status"], event["to_status"], event["why"]) for event in events] == [
        (None, "queued", "submitted"),
        ("queued", "paused", "paused by its client"),
        ("paused", "queued", "resumed by its client"),
        ("queued", "cancelled", "cancelled by its client"),
    ]
    assert {event["by"] for event in events} == {"client"}
    assert all(event["at"].endswith("Z") for event in events)
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)


def test_where_nobody_works_the_list_of_workers_is_empty(http):
    assert http.get("/v1/workers").json() == {"items": []}
