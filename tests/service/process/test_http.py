"""The HTTP contract, against a real service process."""

import json

import httpx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from costcurve.core.presets import PRESETS
from tests.helpers.problems import problem

NEURON = {"spec": {"experiment": "neuron"}}


def test_a_submitted_job_is_created_and_can_be_fetched_where_its_location_says(http):
    answer = http.post("/v1/jobs", json={**NEURON, "name": "n", "tags": {"a": "b"}})

    assert answer.status_code == 201
    job = answer.json()
    assert job.pop("warnings") == []
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    fetched = http.get(answer.headers["location"])
    # Why it waits is found out when it is looked at, and nobody works here.
    assert fetched.json() == job | {"status_reason": "no worker is alive", "queue_position": 1}
    assert (job["status"], job["is_terminal"], job["name"], job["tags"]) == ("queued", False, "n", {"a": "b"})
    assert job["spec"]["effective_learning_rate"] == 0.15
    assert job["spec_hash"].startswith("sha256:")
    assert job["progress"] == {
        "epoch": 0,
        "epochs": 300,
        "step": 0,
        "steps": 300,
        "fraction": 0.0,
        "eta_seconds": None,
    }
    assert job["created_at"].endswith("Z")


def test_an_unchanged_job_is_not_sent_again(http):
    location = http.post("/v1/jobs", json=NEURON).headers["location"]
    etag = http.get(location).headers["etag"]

    assert etag.startswith('W/"1-')  # weak: the place in the queue may change without it
    for known in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
        again = http.get(location, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    http.post(f"{location}/cancel")
    changed = http.get(location, headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag


def test_a_submission_repeated_with_its_idempotency_key_makes_no_second_job(http):
    def submit(body, key):
        return http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})

    first, again = submit(NEURON, "key-1"), submit(NEURON, "key-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    problem(submit({"preset": "mnist-quadratic"}, "key-1"), 422, "idempotency_key_reused")
    for bad in ("", "x" * 256):
        errors = problem(submit(NEURON, bad), 422, "invalid_request")["errors"]
        assert [error["pointer"] for error in errors] == ["/header/idempotency-key"]


def test_validation_resolves_and_estimates_and_queues_nothing(http):
    before = http.get("/v1/jobs").json()
    answer = http.post("/v1/jobs:validate", json={"spec": {"experiment": "mnist", "init": "zeros"}})

    assert answer.status_code == 200
    body = answer.json()
    assert body["total_steps"] == 150_000
    assert 0.1 < body["estimated_seconds"] < 60
    assert body["estimated_memory_bytes"] > 100_000_000
    assert [warning["code"] for warning in body["warnings"]] == ["symmetric_init"]
    assert body["spec"]["init"]["scheme"] == "zeros"
    assert http.get("/v1/jobs").json() == before


def test_validation_forecasts_the_start_and_a_submission_has_the_same_warnings(http):
    body = {"preset": "mnist-slow-quadratic"}
    checked, job = (http.post(path, json=body).json() for path in ("/v1/jobs:validate", "/v1/jobs"))

    assert checked["forecast"]["method"] == "drawn_weights"
    assert checked["forecast"]["is_badly_wrong"] is True
    assert 100_000 < checked["forecast"]["start"]["slowdown_factor"] < 200_000
    [warning] = checked["warnings"]
    assert (warning["code"], warning["pointer"]) == ("output_saturated_quadratic", "/spec/init/output_bias")
    assert job["warnings"] == checked["warnings"]
    assert "warnings" not in http.get(f"/v1/jobs/{job['id']}").json()
    cure = http.post(f"/v1/jobs/{job['id']}/clone", json={"spec": {"loss": "cross_entropy"}})
    assert (cure.status_code, cure.json()["warnings"]) == (201, [])


def test_a_forecast_that_is_not_finite_has_nulls_and_a_neuron_has_its_course(http):
    huge = {"experiment": "mnist", "init": {"scheme": "normal", "std": 1e39}}
    checked = http.post("/v1/jobs:validate", json={"spec": huge}).json()
    assert checked["forecast"]["start"]["slowdown_factor"] is None
    assert [warning["code"] for warning in checked["warnings"]] == ["start_not_finite"]
    forecast = http.post("/v1/jobs:validate", json={"preset": "neuron-slow-quadratic"}).json()["forecast"]
    assert (forecast["method"], forecast["learning_rate"]) == ("simulation", None)
    assert forecast["course"]["halfway_update"] == 233
    assert abs(forecast["course"]["final_output"] - 0.202848) < 1e-6


def test_every_preset_can_be_submitted_by_name(http):
    presets = http.get("/v1/presets").json()["items"]

    assert [preset["name"] for preset in presets] == list(PRESETS)
    for preset in presets:
        job = http.post("/v1/jobs", json={"preset": preset["name"]}).json()
        assert job["spec"] == preset["spec"]


def test_jobs_are_listed_with_filters_and_cursors(http):
    for number in range(5):
        http.post("/v1/jobs", json={**NEURON, "tags": {"list": "yes", "number": str(number)}})
    first = http.get("/v1/jobs", params={"tag": "list:yes", "limit": 3}).json()
    second = http.get("/v1/jobs", params={"tag": "list:yes", "limit": 3, "cursor": first["next_cursor"]}).json()

    numbers = [job["tags"]["number"] for job in first["items"] + second["items"]]
    assert numbers == ["4", "3", "2", "1", "0"]
    assert second["next_cursor"] is None
    both = http.get("/v1/jobs", params=[("tag", "list:yes"), ("tag", "number:2")]).json()
    assert [job["tags"]["number"] for job in both["items"]] == ["2"]
    assert http.get("/v1/jobs", params={"experiment": "mnist", "tag": "list:yes"}).json()["items"] == []


def test_a_queued_job_is_cancelled_and_twice_is_no_error(http):
    location = http.post("/v1/jobs", json=NEURON).headers["location"]

    for _ in range(2):
        answer = http.post(f"{location}/cancel")
        assert answer.status_code == 202
        assert answer.json()["status"] == "cancelled"


def test_the_curve_of_a_job_that_has_not_started_is_empty(http):
    location = http.post("/v1/jobs", json={"spec": {"experiment": "mnist"}}).headers["location"]

    body = http.get(f"{location}/curve").json()
    assert body["x"] == []
    assert {"cost", "correct", "saturated_fraction.1", "gradient_norm.2", "slowdown_factor"} < set(body["series"])
    assert all(values == [] for values in body["series"].values())
    assert (body["total_points"], body["next_from"], body["sampled"]) == (0, 0, False)
    assert http.get(f"{location}/curve.csv").text == ",".join(["x", *body["series"]]) + "\r\n"
    assert http.get(f"{location}/transcript").text == ""


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "pointer"),
    [
        ("GET", "/v1/jobs/job_0", 404, "job_not_found", None),
        ("DELETE", "/v1/jobs/job_0", 404, "job_not_found", None),
        ("POST", "/v1/jobs/job_0/cancel", 404, "job_not_found", None),
        ("POST", "/v1/jobs/job_0/clone", 404, "job_not_found", None),
        ("POST", "/v1/jobs/job_0/pause", 404, "job_not_found", None),
        ("POST", "/v1/jobs/job_0/resume", 404, "job_not_found", None),
        ("GET", "/v1/jobs/job_0/events", 404, "job_not_found", None),
        ("POST", "/v1/jobs", 422, "invalid_request", ""),
        ("GET", "/v1/jobs/job_0/curve", 404, "job_not_found", None),
        ("GET", "/v1/jobs/job_0/curve.csv", 404, "job_not_found", None),
        ("GET", "/v1/jobs/job_0/curve.svg", 404, "job_not_found", None),
        ("GET", "/v1/jobs/job_0/transcript", 404, "job_not_found", None),
        ("GET", "/v1/compare.svg?job=job_0&job=job_1", 404, "job_not_found", None),
        ("GET", "/v1/compare.svg?job=job_0", 422, "invalid_request", "/query/job"),
        ("GET", "/v1/jobs/%F0%9F%98%80/curve", 404, "job_not_found", None),
        ("GET", "/v1/jobs/%ff%00", 404, "job_not_found", None),
        ("GET", "/nowhere", 404, "not_found", None),
        ("DELETE", "/v1/jobs", 405, "method_not_allowed", None),
        ("GET", "/v1/jobs?limit=0", 422, "invalid_request", "/query/limit"),
        ("GET", "/v1/jobs?limit=201", 422, "invalid_request", "/query/limit"),
        ("GET", "/v1/jobs?limit=ten", 422, "invalid_request", "/query/limit"),
        ("GET", "/v1/jobs?status=lost", 422, "invalid_request", "/query/status"),
        ("GET", "/v1/jobs?order=name", 422, "invalid_request", "/query/order"),
        ("GET", "/v1/jobs?tag=nocolon", 422, "invalid_request", "/query/tag"),
        ("GET", "/v1/jobs?" + "&".join(["tag=a:b"] * 1200), 422, "invalid_request", "/query/tag"),
        ("GET", "/v1/jobs/", 404, "not_found", None),
        ("GET", "/v1/jobs?cursor=nonsense", 422, "invalid_request", "/query/cursor"),
        ("GET", "/v1/jobs?colour=red", 422, "invalid_request", "/query/colour"),
        ("GET", "/v1/jobs/job_0/curve?from=-1", 422, "invalid_request", "/query/from"),
        ("GET", "/v1/jobs/job_0/curve?to=1e3", 422, "invalid_request", "/query/to"),
        ("GET", "/v1/jobs/job_0/curve?from=99999999999999999999", 422, "invalid_request", "/query/from"),
        ("GET", "/v1/jobs/job_0/curve?granularity=second", 422, "invalid_request", "/query/granularity"),
    ],
)
def test_every_error_is_a_problem_with_a_stable_code(http, method, path, status, code, pointer):
    body = problem(http.request(method, path), status, code)

    assert [error["pointer"] for error in body["errors"]] == ([] if pointer is None else [pointer])


@pytest.mark.parametrize("text", ["costs $\\alpha_{ and $5", "$\\frac{$", "<b>&amp;", "日本 😀", "x" * 200])
def test_whatever_a_job_is_called_it_can_be_plotted(http, text):
    job = http.post("/v1/jobs", json={**NEURON, "name": text}).json()

    assert http.get(f"/v1/jobs/{job['id']}/curve.svg").status_code == 200
    assert http.get(f"/v1/jobs/{job['id']}/curve.png", params={"title": text}).status_code == 200


def test_an_unknown_metric_is_named(http):
    location = http.post("/v1/jobs", json=NEURON).headers["location"]

    body = problem(http.get(f"{location}/curve?metrics=cost,accuracy"), 422, "unknown_metric")
    assert body["errors"][0]["pointer"] == "/query/metrics"
    assert "sigmoid_prime" in body["detail"]


def test_a_plot_without_a_name_is_titled_by_its_spec(http):
    location = http.post("/v1/jobs", json={"spec": {"experiment": "neuron", "init": "zeros"}}).headers["location"]

    title = "One sigmoid neuron: cross_entropy loss, zeros init, learning rate 0.15"
    assert f"<!-- {title} -->" in http.get(f"{location}/curve.svg").text


def test_a_neuron_and_a_network_cannot_share_a_plot(http):
    ids = [
        http.post("/v1/jobs", json={"preset": name}).json()["id"] for name in ("neuron-good-start", "mnist-quadratic")
    ]

    body = problem(http.get("/v1/compare.svg", params={"job": ids}), 422, "invalid_request")
    assert body["errors"][0]["pointer"] == "/query/job"


def test_each_bad_field_of_a_body_is_named(http):
    body = {"spec": {"experiment": "mnist", "epochs": "30", "layers": [784, 10.5, 10]}, "colour": "red"}

    errors = problem(http.post("/v1/jobs", json=body), 422, "invalid_request")["errors"]
    assert sorted(error["pointer"] for error in errors) == ["/colour", "/spec/epochs", "/spec/layers/1"]
    assert all(error["message"] for error in errors)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b'{"spec": {"experiment": "neuron",}}',
        b"\xff\xfe",
        b'{"spec": "\xff"}',
        b"[" * 100_000,
        b'{"spec": ' * 20_000,
        b'{"spec": {"experiment": "neuron", "epochs": ' + b"9" * 5000 + b"}}",
    ],
)
def test_a_body_that_is_not_json_is_a_400_or_a_422_with_a_pointer(http, content):
    answer = http.post("/v1/jobs", content=content, headers={"content-type": "application/json"})

    assert answer.status_code in (400, 422)
    assert problem(answer, answer.status_code, answer.json()["code"])["errors"][0]["pointer"] == ""


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused_by_field(http, literal):
    content = f'{{"spec": {{"experiment": "neuron", "learning_rate": {literal}}}}}'

    answer = http.post("/v1/jobs", content=content, headers={"content-type": "application/json"})
    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/spec/learning_rate"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_a_body_that_does_not_claim_to_be_json_is_refused(http, media_type):
    answer = http.post("/v1/jobs", content=json.dumps(NEURON), headers={"content-type": media_type})

    problem(answer, 415, "unsupported_media_type")


def test_a_body_over_the_limit_is_refused_however_it_arrives(http):
    def pieces():
        yield b'{"name": "'
        for _ in range(20):
            yield b"x" * 100_000
        yield b'"}'

    headers = {"content-type": "application/json"}
    problem(http.post("/v1/jobs", content=b"x" * (1 << 21), headers=headers), 413, "body_too_large")
    problem(http.post("/v1/jobs", content=pieces(), headers=headers), 413, "body_too_large")
    assert http.post("/v1/jobs", content=json.dumps(NEURON) + " " * 1_000_000, headers=headers).status_code == 201


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)
names = st.sampled_from(
    ["experiment", "loss", "reduction", "init", "epochs", "learning_rate", "layers", "batch_size", "seed", "input"]
)
near_specs = st.dictionaries(names, anything, max_size=4).map(lambda spec: {"experiment": "mnist", **spec})
near_bodies = st.fixed_dictionaries(
    {"spec": near_specs},
    optional=dict.fromkeys(("preset", "device", "engine", "name", "tags", "priority", "more"), anything),
)
broken = st.binary(max_size=60) | near_bodies.map(lambda body: json.dumps(body)[:-3].encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(body=anything.map(json.dumps) | near_bodies.map(json.dumps) | broken)
def test_no_malformed_body_is_ever_a_server_error(http, body):
    """Each is a 4xx with a pointer. The few bodies that happen to be right are none of the 400."""
    answer = http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assume(answer.status_code != 201)

    assert 400 <= answer.status_code < 500, answer.text
    errors = problem(answer, answer.status_code, answer.json()["code"])["errors"]
    assert errors
    assert all(error["pointer"] == "" or error["pointer"].startswith("/") for error in errors)


def test_the_service_is_alive_ready_and_tells_its_version(http):
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}
    assert http.get("/v1/version").json()["api"] == "v1"


def test_the_documentation_page_needs_no_internet(http):
    page = http.get("/docs", follow_redirects=True)

    assert page.status_code == 200
    import re

    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert addresses
    for address in addresses:
        assert http.get(address).status_code == 200
        assert httpx.URL(address).host in ("", http.base_url.host)


def test_the_openapi_document_describes_every_route_and_its_errors(http):
    document = http.get("/openapi.json").json()

    assert {
        "/v1/jobs",
        "/v1/jobs:validate",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/cancel",
        "/v1/jobs/{job_id}/clone",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/fork",
        "/v1/jobs/{job_id}/pause",
        "/v1/jobs/{job_id}/resume",
        "/v1/jobs/{job_id}/curve",
        "/v1/jobs/{job_id}/curve.csv",
        "/v1/jobs/{job_id}/transcript",
        "/v1/presets",
        "/v1/version",
        "/v1/workers",
        "/healthz",
        "/readyz",
    } <= set(document["paths"])
    submit = document["paths"]["/v1/jobs"]["post"]["responses"]
    assert {"201", "400", "413", "415", "422", "503"} <= set(submit)
    clone = document["paths"]["/v1/jobs/{job_id}/clone"]["post"]["responses"]
    assert set(clone) == set(submit) | {"404"}
    assert set(document["paths"]["/v1/jobs/{job_id}/fork"]["post"]["responses"]) == set(clone)
    assert {"204", "404", "409", "503"} <= set(document["paths"]["/v1/jobs/{job_id}"]["delete"]["responses"])
    assert {"200", "400", "404", "413", "415", "422"} <= set(
        document["paths"]["/v1/jobs/{job_id}"]["patch"]["responses"]
    )
    assert list(submit["422"]["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize("query", ["tag=a:%00", "sweep_id=%00", "cursor=%00"])
def test_nothing_is_asked_for_with_the_character_0(http, query):
    found = problem(http.get(f"/v1/jobs?{query}"), 422, "invalid_request")

    assert [error["pointer"] for error in found["errors"]] == ["/query"]
