"""Nothing that a client sends is ignored: what is unknown, given twice, or no number is refused, on every route."""

import json

import httpx
import pytest

from tests.helpers import plain_http
from tests.helpers.problems import problem

NEURON = {"spec": {"experiment": "neuron"}}
JSON = {"Content-Type": "application/json"}
OWN = {"job_id": "job_0", "sweep_id": "swp_0", "file_format": "svg", "key_id": "key_0", "project": "default"}


@pytest.fixture(scope="module")
def document(service) -> dict:
    return plain_http.get(f"{service.url}/openapi.json").json()


@pytest.fixture(scope="module")
def operations(document) -> list[tuple[str, str, dict]]:
    """Method, path with ids filled in, and description of every operation."""
    return [
        (method.upper(), path.format(**OWN), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def parameters(operation: dict) -> dict[str, dict]:
    return {each["name"]: each for each in operation.get("parameters", ()) if each["in"] == "query"}


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in problem(answer, 422, "invalid_request")["errors"]]


def test_an_unknown_parameter_is_refused_on_every_route(http, operations):
    assert len(operations) > 35
    for method, path, _ in operations:
        assert pointers(http.request(method, f"{path}?colour=red&wait=5")) == ["/query/colour", "/query/wait"], path
    for path in ("/metrics", "/docs", "/", "/swagger/swagger-ui.css"):
        assert pointers(http.get(f"{path}?colour=red")) == ["/query/colour"]


def test_a_single_parameter_that_is_given_twice_is_refused_on_every_route(http, operations):
    tried = 0
    for method, path, operation in operations:
        for name, described in parameters(operation).items():
            if described["schema"].get("type") != "array":
                tried += 1
                twice = http.request(method, path, params=[(name, "1"), (name, "1")])
                assert pointers(twice) == [f"/query/{name}"], path
    assert tried > 30


@pytest.mark.parametrize("value", ["1_0", "+10", " 10", "10 ", "1e1", "10.0", "0x10", "١٠", "１０", ""])
def test_a_number_is_written_in_digits_on_every_route(http, operations, value):
    tried = 0
    for method, path, operation in operations:
        for name, described in parameters(operation).items():
            schemas = [described["schema"], *described["schema"].get("anyOf", ())]
            if any(schema.get("type") == "integer" for schema in schemas):
                tried += 1
                answer = http.request(method, path, params={name: value})
                assert f"/query/{name}" in pointers(answer), (path, name)
    assert tried > 10


def test_filters_repeat_and_mean_any_of_them(http):
    tag = {"strict": "yes"}
    for loss in ("quadratic", "cross_entropy"):
        for experiment in ("neuron", "mnist"):
            http.post("/v1/jobs", json={"spec": {"experiment": experiment, "loss": loss}, "tags": tag})
    paused = http.get("/v1/jobs", params={"tag": "strict:yes"}).json()["items"][0]["id"]
    http.post(f"/v1/jobs/{paused}/pause")

    def found(**query) -> list[tuple[str, str, str]]:
        items = http.get("/v1/jobs", params={"tag": "strict:yes", **query}).raise_for_status().json()["items"]
        return [(job["status"], job["spec"]["experiment"], job["spec"]["loss"]) for job in items]

    assert len(found()) == len(found(status=["queued", "paused"])) == len(found(loss=["quadratic", "quadratic"])) * 2
    assert len(found(experiment=["neuron", "mnist"])) == 4
    assert {status for status, *_ in found(status="paused")} == {"paused"}
    assert found(status=["running", "failed"]) == []
    assert pointers(http.get("/v1/jobs?status=queued&status=lost")) == ["/query/status"]


def test_two_idempotency_keys_are_refused(http):
    for path in ("/v1/jobs", "/v1/sweeps"):
        answer = http.post(path, json=NEURON, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
        assert pointers(answer) == ["/header/idempotency-key"]


@pytest.mark.parametrize("key", [b"a\x85b", b"\x9b31m"])
def test_an_idempotency_key_has_no_control_characters(http, key):
    answer = http.post("/v1/jobs", json=NEURON, headers={b"Idempotency-Key": key})

    assert pointers(answer) == ["/header/idempotency-key"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ('{"spec": {"experiment": "neuron"}, "priority": 1, "priority": 2}', "/priority"),
        ('{"priority": 1, "priority": 1, "spec": {"experiment": "neuron"}}', "/priority"),
        ('{"spec": {"experiment": "neuron", "epochs": 1, "epochs": 2}}', "/spec/epochs"),
        ('{"spec": {"experiment": "neuron"}, "spec": {"experiment": "neuron"}}', "/spec"),
        ('{"spec": {"init": [{"a/b": 1}, {"a/b": 1, "a/b": 1}]}}', "/spec/init/1/a~1b"),
        ('{"tags": {"a": "b", "\\u0061": "c"}}', "/tags/a"),
        ('[{"x": {"body": 1, "body": 2}}]', "/0/x/body"),
        ('{"body": {"k": 1, "k": 2}}', "/body/k"),
    ],
)
def test_a_member_that_is_given_twice_is_named_in_every_body(http, operations, body, pointer):
    tried = 0
    for method, path, operation in operations:
        if "requestBody" in operation and not path.endswith("/predict"):
            tried += 1
            assert pointers(http.request(method, path, content=body, headers=JSON)) == [pointer], path
    assert tried >= 5


def test_a_member_that_is_given_twice_is_named_wherever_it_stands(http):
    deep = '{"a": [0, ' * 50 + '{"k": 1, "k": 2}' + "]}" * 50

    assert pointers(http.post("/v1/jobs", content=deep, headers=JSON))[0].endswith("/a/1/k")


def test_a_stream_of_events_is_not_to_be_had_yet(http):
    location = http.post("/v1/jobs", json=NEURON).headers["location"]

    refused = http.get(f"{location}/events", headers={"Accept": "text/event-stream"})
    assert "application/json" in problem(refused, 406, "not_acceptable")["detail"]
    for accept in ("text/event-stream, application/json;q=0.1", "text/event-stream, */*", "*/*", "application/json"):
        assert http.get(f"{location}/events", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (["application/json;q=0"], 406),
        (["application/json; q=0.000, */*"], 406),
        (["application/*;q=0"], 406),
        (["*/*;q=0"], 406),
        (["application/json;q=0.1, */*;q=0"], 200),
        (["text/html", "application/json;q=0"], 406),
        (["text/html"], 200),
        (["application/json;q=high"], 200),
    ],
)
def test_a_media_type_that_is_refused_is_not_sent(http, accept, status):
    answer = http.get("/v1/presets", headers=[("Accept", line) for line in accept])

    assert answer.status_code == status


def test_metrics_come_in_no_format_that_is_refused(http):
    both = {"Accept": "application/openmetrics-text;version=1.0.0;q=0,text/plain;version=0.0.4;q=0.5"}

    assert http.get("/metrics", headers=both).headers["content-type"].startswith("text/plain")
    wanted = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.7"}
    assert http.get("/metrics", headers=wanted).headers["content-type"].startswith("application/openmetrics-text")


def test_a_body_with_every_legal_field_is_taken(http):
    body = json.dumps(NEURON | {"name": "a", "tags": {str(number): "x" * 256 for number in range(16)}})

    assert http.post("/v1/jobs", content=body, headers=JSON).status_code == 201


def test_every_operation_describes_the_errors_that_any_request_may_meet(operations):
    for method, path, operation in operations:
        described = operation["responses"]
        assert {"400", "406", "421", "422"} <= set(described), path
        assert ("403" in described) == (method != "GET"), path
        for status, response in described.items():
            assert status < "400" or list(response["content"]) == ["application/problem+json"], path
