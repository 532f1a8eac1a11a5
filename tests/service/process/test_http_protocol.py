"""HTTP as proxies, browsers and tools speak it: methods, validators, preconditions, encodings, headers."""

import gzip
import json

import httpx
import pytest

from tests.helpers.problems import problem

NEURON = {"spec": {"experiment": "neuron"}}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def location(http: httpx.Client) -> str:
    return http.post("/v1/jobs", json=NEURON).headers["location"]


def gets(http: httpx.Client, location: str) -> list[str]:
    """Every address that GET reads, of this job and of a sweep."""
    sweep = http.post("/v1/sweeps", json=NEURON).json()["id"]
    ids = {"job_id": location.rpartition("/")[2], "sweep_id": sweep, "file_format": "svg"}
    document = http.get("/openapi.json").json()
    paths = [path.format(**ids) for path, methods in document["paths"].items() if "get" in methods]
    return [*paths, "/metrics", "/docs", "/", "/openapi.json", "/swagger/swagger-ui.css"]


def test_head_works_wherever_get_does_and_has_its_headers(http, location):
    found = gets(http, location)
    assert len(found) > 25
    for path in found:
        get, head = http.get(path), http.head(path)
        assert (head.status_code, head.content) == (get.status_code, b""), path
        varying = {"date", "x-request-id", "transfer-encoding"} | (
            {"content-length"} if path in {"/metrics", "/v1/workers"} else set()
        )
        assert {name: value for name, value in head.headers.items() if name not in varying} == {
            name: value for name, value in get.headers.items() if name not in varying
        }, path


def test_head_of_a_long_csv_leaves_the_connection_usable(http, location):
    for _ in range(3):
        assert http.head(f"{location}/curve.csv").headers["content-type"] == "text/csv; charset=utf-8"
        assert http.get(location).status_code == 200


def test_a_405_names_all_methods_that_are_allowed(http, location):
    for method, path, allowed in (
        ("DELETE", "/v1/jobs", "GET, HEAD, POST"),
        ("PUT", location, "GET, HEAD, PATCH, DELETE"),
        ("POST", "/healthz", "GET, HEAD"),
        ("HEAD", f"{location}/cancel", "POST"),
        ("GET", f"{location}/predict", "POST"),
        ("OPTIONS", "/v1/sweeps", "GET, HEAD, POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("PATCH", "/docs", "GET, HEAD"),
    ):
        answer = http.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path
        if method != "HEAD":
            message = f"Method {method} is not allowed here; allowed: {allowed}"
            assert problem(answer, 405, "method_not_allowed")["detail"] == message


def test_a_change_is_made_only_while_the_job_is_as_it_was_seen(http, location):
    seen = http.get(location).headers["etag"]
    changed = http.patch(location, json={"name": "first"}, headers={"If-Match": seen})
    assert changed.status_code == 200
    assert changed.headers["etag"] == http.get(location).headers["etag"] != seen

    refused = http.patch(location, json={"name": "second"}, headers={"If-Match": seen})
    assert changed.headers["etag"] in problem(refused, 412, "precondition_failed")["detail"]
    assert http.get(location).json()["name"] == "first"
    again = http.patch(location, json={"name": "second"}, headers={"If-Match": f'"x", {changed.headers["etag"]}'})
    assert again.json()["name"] == "second"
    lines = [("If-Match", '"x"'), ("If-Match", again.headers["etag"])]
    assert http.patch(location, json={"name": "third"}, headers=lines).status_code == 200


def test_a_deletion_is_made_only_while_the_job_is_as_it_was_seen(http, location):
    seen = http.get(location).headers["etag"]
    http.post(f"{location}/cancel")

    problem(http.delete(location, headers={"If-Match": seen}), 412, "precondition_failed")
    assert http.get(location).status_code == 200
    assert http.delete(location, headers={"If-Match": "*"}).status_code == 204
    problem(http.delete(location, headers={"If-Match": "*"}), 404, "job_not_found")


def test_every_line_of_if_none_match_is_read(http, location):
    job_id = location.rpartition("/")[2]
    other = http.post("/v1/jobs", json=NEURON).json()["id"]
    for path in (location, f"{location}/curve", f"{location}/curve.svg", f"/v1/compare?job={job_id}&job={other}"):
        etag = http.get(path).headers["etag"]
        lines = [("If-None-Match", '"x"'), ("If-None-Match", f'"y", {etag}')]
        assert http.get(path, headers=lines).status_code == 304
        assert etag.startswith("W/")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused_as_what_it_is(http, location, coding):
    body = gzip.compress(json.dumps(NEURON).encode())
    for method, path in (("POST", "/v1/jobs"), ("PATCH", location), ("POST", "/v1/sweeps")):
        answer = http.request(method, path, content=body, headers=JSON | {"Content-Encoding": coding})
        assert "Content-Encoding" in problem(answer, 415, "unsupported_media_type")["detail"]
        assert answer.headers["accept-encoding"] == "identity"
    plain = http.post("/v1/jobs", json=NEURON, headers={"Content-Encoding": "identity"})
    assert plain.status_code == 201


@pytest.mark.parametrize(
    ("encoding", "says"),
    [
        ("utf-8-sig", "byte order mark"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("latin-1", "byte 0xe9 at offset"),
    ],
)
def test_a_body_in_another_encoding_is_told_which(http, encoding, says):
    body = json.dumps(NEURON | {"name": "é"}, ensure_ascii=False).encode(encoding)

    assert says in problem(http.post("/v1/jobs", content=body, headers=JSON), 400, "malformed_json")["detail"]


def test_another_charset_and_two_content_types_are_refused(http):
    body = json.dumps(NEURON)
    for headers in (
        [("Content-Type", "application/json; charset=utf-16")],
        [("Content-Type", "application/json"), ("Content-Type", "application/json")],
        [("Content-Type", "text/plain"), ("Content-Type", "application/json")],
    ):
        problem(http.post("/v1/jobs", content=body, headers=headers), 415, "unsupported_media_type")
    for charset in ("utf-8", '"UTF-8"', "US-ASCII"):
        content_type = {"Content-Type": f"application/json; charset={charset}"}
        assert http.post("/v1/jobs", content=body, headers=content_type).status_code == 201


def test_every_response_says_how_it_may_be_kept_and_is_not_guessed_at(http, location):
    answers = [http.get(path) for path in gets(http, location)]
    answers += [http.get("/nowhere"), http.delete("/v1/jobs"), http.post("/v1/jobs", content=b"x" * (2 << 20))]
    answers += [http.post("/v1/jobs", json=NEURON), http.get("/v1/jobs?x=%00"), http.delete(location)]
    answers += [http.get(location, headers={"If-None-Match": "*"}), http.get("/healthz", headers={"Host": "evil.test"})]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff", answer.url
        tagged = "private, no-cache" if "etag" in answer.headers else "no-store"
        kept = "private, max-age=3600" if answer.url.path.startswith("/swagger") else tagged
        assert answer.headers["cache-control"] == kept, answer.url


def test_no_response_has_an_address_that_a_client_could_have_forged(http):
    forged = {"Host": f"localhost:{http.base_url.port}", "X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "gopher"}
    page = http.get("/docs", headers=forged)

    assert "localhost" not in page.text
    assert "evil.test" not in page.text
    assert http.get("/", headers=forged).headers["location"] == "docs"
    assert http.post("/v1/jobs", json=NEURON, headers=forged).headers["location"].startswith("/v1/jobs/job_")
