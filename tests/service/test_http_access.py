"""Every operation of the OpenAPI document with every kind of key, on own, strangers' and missing jobs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import httpx
import pytest

from costcurve.core.access import ProjectLimits, Scope
from costcurve.runtime.settings import Settings
from costcurve.store.job_update import JobUpdate
from service.http.operations import RULES
from tests.helpers.key_service import GENEROUS, KeyService, key_service
from tests.helpers.problems import problem
from tests.helpers.reports import CPU, ENGINES, RESULT, choose, points, progress

NEURON = {"spec": {"experiment": "neuron"}}
MISSING = {"job": "job_" + "0" * 20, "sweep": "swp_" + "0" * 20}
BODIES: dict[str, object] = {
    "submit_job": NEURON,
    "validate_job": NEURON,
    "update_job": {"name": "x"},
    "clone_job": {},
    "fork_job": {"at_epoch": 2, "spec": {"loss": "quadratic"}},
    "submit_sweep": {**NEURON, "grid": {"learning_rate": [1.0, 2.0]}},
    "submit_trial": {"try": {"learning_rate": 1.5}},
    "extend_trial": {"repeats": 3},
    "predict": {"images": [[0] * 784]},
    "create_key": {"project": "ours", "name": "new", "scopes": ["read"]},
    "create_project": {"name": "another"},
    "update_project": {},
}
BAD_KEYS = (None, "revoked", "expired", "unknown")


class Operation(NamedTuple):
    name: str
    method: str
    path: str

    @property
    def takes(self) -> str | None:
        """Of what it takes an id: "job", "sweep" or nothing."""
        if "{job_id}" in self.path or self.path.startswith("/v1/compare"):
            return "job"
        return "sweep" if "{sweep_id}" in self.path else None

    def at(self, own_id: str, other: str = "") -> str:
        """Its path and query for this id; `other` is the second of two jobs to compare."""
        path = self.path.format(
            job_id=own_id, sweep_id=own_id, file_format="svg", key_id="key_" + "0" * 20, project="ours"
        )
        return f"{path}?job={own_id}&job={other}" if self.path.startswith("/v1/compare") else path


@pytest.fixture(scope="module")
def service(tmp_path_factory, migrated_sqlite) -> Iterator[KeyService]:
    with key_service(tmp_path_factory.mktemp("home"), migrated_sqlite) as service:
        yield service


@pytest.fixture(scope="module")
def operations(service) -> list[Operation]:
    paths = service.http.get("/openapi.json").json()["paths"]
    found = [
        Operation(operation["operationId"], method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if path.startswith("/v1")
    ]
    assert len(found) > 45
    return found


def made(service: KeyService, kind: str | None, who: str = "ours") -> str:
    """A queued job or a sweep of this key's; its id."""
    if kind is None:
        return ""
    path, body = ("/v1/jobs", NEURON) if kind == "job" else ("/v1/sweeps", BODIES["submit_sweep"])
    return service.ask(who, "POST", path, json=body).json()["id"]


def seen(answer: httpx.Response, own_id: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """Everything that a client sees, without the id that it sent, and what differs between any two responses."""
    kept = [(name, value) for name, value in answer.headers.multi_items() if name not in {"date", "x-request-id"}]
    kept = [(name, value) for name, value in kept if not name.startswith("ratelimit")]
    return answer.status_code, kept, answer.content.replace(own_id.encode(), b"ID")


def body_of(operation: Operation) -> dict[str, object]:
    return {"json": BODIES[operation.name]} if operation.name in BODIES else {}


def test_every_operation_declares_its_scope(service, operations):
    paths = service.http.get("/openapi.json").json()
    for operation in operations:
        declared = paths["paths"][operation.path][operation.method.lower()]
        assert declared["security"] == [{"key": [RULES[operation.name].scope]}]
        assert {"401", "403", "429"} <= set(declared["responses"])
    assert paths["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert {name for name, rule in RULES.items() if rule.scope is not None} == {each.name for each in operations}


def test_a_strangers_job_or_sweep_is_as_one_that_does_not_exist(service, operations):
    compared = 0
    for operation in operations:
        if operation.takes is None:
            continue
        theirs, mine = made(service, operation.takes), made(service, operation.takes, "theirs")

        def refused(own_id: str, headers: dict[str, str], *, is_second: bool, operation=operation, mine=mine) -> tuple:
            path = operation.at(mine, own_id) if is_second else operation.at(own_id, mine)
            answer = service.ask("theirs", operation.method, path, headers=headers, **body_of(operation))
            return seen(answer, own_id)

        for headers in ({}, {"If-None-Match": "*"}, {"If-Match": "*"}, {"Idempotency-Key": operation.name}):
            # Of two jobs to compare, either may be the stranger's.
            for is_second in (False, True) if "compare" in operation.path else (False,):
                of_stranger = refused(theirs, headers, is_second=is_second)
                assert of_stranger == refused(MISSING[operation.takes], headers, is_second=is_second), operation
                assert of_stranger[0] == 404, operation
                compared += 1
        own = service.ask("ours", operation.method, operation.at(theirs, made(service, "job")), **body_of(operation))
        assert own.status_code != 404 or own.json()["code"] == "model_not_found", (operation, own.text)
    assert compared > 120


def test_lists_filters_and_counts_show_nothing_of_strangers(service):
    job, sweep = made(service, "job"), made(service, "sweep")
    for path in ("/v1/jobs?limit=200", "/v1/sweeps", "/v1/workers", f"/v1/jobs?sweep_id={sweep}"):
        answer = service.ask("theirs", "GET", path)
        assert answer.status_code == 200
        assert job not in answer.text
        assert sweep not in answer.text
    filtered = [service.ask("theirs", "GET", f"/v1/jobs?sweep_id={each}") for each in (sweep, MISSING["sweep"])]
    assert seen(filtered[0], sweep) == seen(filtered[1], MISSING["sweep"])
    first = service.ask("theirs", "POST", "/v1/jobs", json=NEURON, headers={"Idempotency-Key": "same"}).json()
    again = service.ask("ours", "POST", "/v1/jobs", json=NEURON, headers={"Idempotency-Key": "same"})
    assert again.status_code == 201
    assert again.json()["id"] != first["id"]
    assert "idempotent-replayed" not in again.headers


@pytest.mark.parametrize("who", BAD_KEYS)
def test_without_a_valid_key_everything_is_the_same_401(service, operations, who):
    job, sweep = made(service, "job"), made(service, "sweep")
    requests = [
        (each.method, each.at(sweep if each.takes == "sweep" else job, job), body_of(each)) for each in operations
    ]
    requests += [
        ("GET", "/v1", {}),
        ("GET", "/v1/nowhere", {}),
        ("PUT", "/v1/jobs", {}),
        ("GET", "/v1/jobs?nonsense=1", {}),
        ("GET", "/v1/jobs?x=%00", {}),
        ("POST", "/v1/jobs", {"content": b"{"}),
        ("POST", "/v1/jobs", {"content": b"x" * (2 << 20)}),
        ("POST", "/v1/jobs", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        ("GET", "/metrics", {}),
    ]
    bodies = set()
    for method, path, options in requests:
        answer = service.ask(who, method, path, **options)
        document = problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
        bodies.add((document["detail"], document["title"], len(document["errors"])))
        if path.startswith("/v1"):
            assert answer.headers["vary"] == "Authorization"
            assert answer.headers["cache-control"] == "private, no-store"
    assert len(bodies) == 1
    assert service.ask(who, "HEAD", "/v1/jobs").status_code == 401


@pytest.mark.parametrize(
    "given",
    [
        ["Basic YWRhOng="],
        ["Bearer"],
        ["Bearer x"],
        ["{key}"],
        ["Bearer {key}", "Bearer {key}"],
        ["Bearer {key} " + "x" * 5000],
    ],
)
def test_a_malformed_header_is_as_none(service, given):
    lines = [("Authorization", line.format(key=service.keys["ours"])) for line in given]
    malformed, none = service.http.get("/v1/me", headers=lines), service.http.get("/v1/me")
    assert seen(malformed, "") == seen(none, "")
    assert none.status_code == 401
    assert service.http.get("/v1/me", params={"api_key": service.keys["ours"]}).status_code == 401


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_may_do_what_its_scopes_say_and_nothing_else(service, operations, scope):
    for operation in operations:
        own_id = made(service, operation.takes)
        answer = service.ask(scope, operation.method, operation.at(own_id, made(service, "job")), **body_of(operation))
        if RULES[operation.name].scope is scope:
            assert answer.status_code not in {401, 403}, (operation, answer.text)
        else:
            document = problem(answer, 403, "insufficient_scope")
            assert document["detail"].endswith(f"this key has: {scope}")
    status = service.ask(scope, "GET", "/metrics").status_code
    assert status == (200 if scope is Scope.ADMIN else 403)


def test_the_scope_is_checked_before_the_body_is_read(service):
    answer = service.ask("read", "POST", "/v1/jobs", content=b"{", headers={"Content-Type": "text/plain"})
    problem(answer, 403, "insufficient_scope")


def test_what_may_be_kept_depends_on_the_key(service):
    job = made(service, "job")
    for path in (f"/v1/jobs/{job}", "/v1/jobs", "/v1/nowhere", "/v1/version"):
        answer = service.ask("ours", "GET", path)
        assert answer.headers["vary"] == "Authorization"
        assert answer.headers["cache-control"] == (
            "private, no-cache" if "etag" in answer.headers else "private, no-store"
        )
        assert answer.headers["ratelimit-policy"].startswith('"requests";q=100000;w=1')
        assert answer.headers["ratelimit"].startswith('"requests";r=')
    for path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
        assert service.http.get(path).status_code == 200
        assert "vary" not in service.http.get(path).headers


def test_a_picture_in_the_cache_and_its_etag_are_the_owners(service, drawn):
    path, etag = drawn
    assert service.ask("ours", "GET", path, headers={"If-None-Match": etag}).status_code == 304
    for headers in ({}, {"If-None-Match": etag}, {"If-None-Match": "*"}):
        problem(service.ask("theirs", "GET", path, headers=headers), 404, "job_not_found")
        problem(service.http.get(path, headers=headers), 401, "unauthorized")


@pytest.fixture
def drawn(service) -> tuple[str, str]:
    """The path of a picture that the service has drawn, and its ETag."""
    job = made(service, "job")
    store = service.store
    store.register_worker("wrk_1", host="here", pid=1, device="cpu")
    while True:
        [claim] = store.claim("wrk_1", engines=ENGINES, devices=CPU, choose=choose())
        assert store.write([JobUpdate(claim, progress(1), points(0, 0.5, 0.4), outcome=RESULT)]) == [None]
        if claim.job_id == job:
            break
    path = f"/v1/jobs/{job}/curve.svg"
    answer = service.ask("ours", "GET", path)
    assert answer.status_code == 200
    assert "style-src 'unsafe-inline'" in answer.headers["content-security-policy"]
    return path, answer.headers["etag"]


def test_keys_and_projects_are_made_listed_and_revoked(service):
    made = service.ask("admin", "POST", "/v1/projects", json={"name": "class-1"})
    assert made.status_code == 201
    problem(service.ask("admin", "POST", "/v1/projects", json={"name": "class-1"}), 409, "project_exists")
    body = {"project": "class-1", "name": "ada", "scopes": ["read", "submit"]}
    answer = service.ask("admin", "POST", "/v1/keys", json=body)
    assert answer.status_code == 201
    created = answer.json()
    service.keys["ada"] = secret = created.pop("key")
    me = service.ask("ada", "GET", "/v1/me").json()
    assert me == {"project": "class-1", "key_id": created["id"], "key_name": "ada", "scopes": ["read", "submit"]}

    listed = service.ask("admin", "GET", "/v1/keys?project=class-1")
    [shown] = listed.json()["items"]
    assert shown["last_used_at"] is not None
    assert shown | {"last_used_at": None} == created
    assert secret not in listed.text
    assert secret.startswith(shown["prefix"])
    assert "class-1" in [each["name"] for each in service.ask("admin", "GET", "/v1/projects").json()["items"]]

    for _ in range(2):
        assert service.ask("admin", "DELETE", f"/v1/keys/{created['id']}").status_code == 204
    problem(service.ask("ada", "GET", "/v1/me"), 401, "unauthorized")
    problem(service.ask("admin", "DELETE", "/v1/keys/key_nothing"), 404, "key_not_found")
    problem(service.ask("admin", "GET", "/v1/keys?project=nothing"), 404, "project_not_found")
    problem(service.ask("admin", "POST", "/v1/keys", json=body | {"project": "nothing"}), 404, "project_not_found")
    problem(service.ask("admin", "PATCH", "/v1/projects/nothing", json={}), 404, "project_not_found")
    problem(service.ask("admin", "POST", "/v1/projects", json={"name": "Not A Name"}), 422, "invalid_request")
    problem(service.ask("admin", "POST", "/v1/keys", json=body | {"scopes": ["write"]}), 422, "invalid_request")


def test_an_event_names_the_key(service):
    job = made(service, "job", "theirs")
    [event] = service.ask("theirs", "GET", f"/v1/jobs/{job}/events").json()["items"]
    assert event["by"] == "theirs"


def test_a_sweep_of_5000_long_jobs_is_refused_with_its_estimate(tmp_path, migrated_sqlite):
    rules = replace(GENEROUS, project_limits=Settings(auth="keys").project_limits)
    rates = [0.1 + i / 10_000 for i in range(5_000)]
    spec = {"experiment": "neuron", "epochs": 1_000_000}
    with key_service(tmp_path, migrated_sqlite, rules) as service:
        long = service.ask("ours", "POST", "/v1/sweeps", json={"spec": spec, "grid": {"learning_rate": rates}})
        service.store.update_project("ours", ProjectLimits(queued_jobs=1))
        first, second = (service.ask("ours", "POST", "/v1/jobs", json=NEURON) for _ in range(2))

        text = problem(long, 422, "submission_too_large")["detail"]
        assert "take 150,000 seconds on one core; a submission of your project may take at most 86,400" in text
        assert first.status_code == 201
        assert "1 of at most 1 jobs queued" in problem(second, 429, "quota_exceeded")["detail"]
        assert second.headers["retry-after"] == "30"
        assert "ratelimit" in second.headers
