"""The service's edges: addresses behind proxies, security headers, CORS, and a port for the metrics."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.helpers import plain_http
from tests.helpers.problems import problem
from tests.helpers.processes import Deployment, until

PAGE = "https://lab.example.org"
FORGED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service behind a proxy on this machine, for the pages of one other site, with a port for its metrics."""
    settings = {
        "COSTCURVE_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
        "COSTCURVE_CORS_ORIGINS": PAGE,
        "COSTCURVE_METRICS_PORT": "0",
        "COSTCURVE_LOG_FORMAT": "json",
    }
    with Deployment(tmp_path_factory.mktemp("home"), environment=settings) as deployment:
        deployment.start_service()
        yield deployment


def logged_addresses(deployment: Deployment, request_id: str) -> list[str]:
    def lines() -> list[dict]:
        log = (deployment.home / "service.log").read_text()
        return [json.loads(line) for line in log.splitlines() if request_id in line]

    return [line["address"] for line in until(lines, len)]


def test_a_trusted_proxy_names_the_client(behind):
    for number, (forwarded, seen) in enumerate(
        {
            "203.0.113.9": "203.0.113.9",
            "198.51.100.7, 203.0.113.9, 10.1.2.3": "203.0.113.9",
            "2001:db8::1": "2001:db8::1",
        }.items()
    ):
        headers = {"X-Forwarded-For": forwarded, "X-Request-ID": f"proxied-{number}"}
        assert plain_http.get(f"{behind.url}/v1/version", headers=headers).status_code == 200
        assert logged_addresses(behind, f"proxied-{number}") == [seen]


def test_a_forged_address_counts_for_nothing(tmp_path):
    environment = {"COSTCURVE_LOG_FORMAT": "json", "FORWARDED_ALLOW_IPS": "*"}
    with Deployment(tmp_path, environment=environment) as deployment:
        deployment.start_service()
        plain_http.get(f"{deployment.url}/v1/version", headers=FORGED | {"X-Request-ID": "forged"})
        assert logged_addresses(deployment, "forged") == ["127.0.0.1"]


def test_the_metrics_have_a_port_of_their_own_and_it_serves_nothing_else(behind):
    log = (behind.home / "service.log").read_text()
    metrics = re.search(r"metrics are served at (http://\S+)/metrics", log)[1]

    assert "costcurve_build_info" in plain_http.get(f"{metrics}/metrics").text
    for url in (f"{behind.url}/metrics", f"{metrics}/v1/jobs", f"{metrics}/healthz", f"{metrics}/docs"):
        problem(plain_http.get(url), 404, "not_found")


def test_a_port_for_metrics_that_is_taken_ends_the_start_with_its_reason(tmp_path, behind):
    taken = behind.url.rpartition(":")[2]
    with Deployment(tmp_path, environment={"COSTCURVE_METRICS_PORT": taken}) as deployment:
        program = deployment._start(["service", "--port", "0"])
        assert program.wait(120) == 1
        assert f"cannot start: cannot listen at 127.0.0.1:{taken}: " in (tmp_path / "service.log").read_text()


def test_probes_name_no_address_and_no_path(behind):
    for path in ("healthz", "readyz"):
        answer = plain_http.get(f"{behind.url}/{path}")
        assert set(answer.json()) == {"status"}
        assert "/" not in answer.text


def test_no_page_may_frame_a_response_or_run_anything_for_it(http):
    job = http.post("/v1/jobs", json={"spec": {"experiment": "neuron"}}).headers["location"]
    for path in ("/v1/version", "/healthz", "/metrics", "/nowhere", job, f"{job}/curve.csv"):
        headers = http.get(path).headers
        policy = headers["content-security-policy"].split("; ")
        assert policy == ["default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"


def test_the_documentation_runs_only_its_own_scripts(http):
    page = http.get("/docs")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))

    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-[A-Za-z0-9+/]{43}='", policy["script-src"])
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in policy["script-src"] + policy["style-src"]
    assert len(re.findall(r"<script>", page.text)) == 1
    assert '"persistAuthorization": false' in page.text


def test_only_pages_of_the_configured_origin_may_use_the_api(behind):
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
    with httpx.Client(base_url=behind.url, timeout=120) as http:
        preflight = http.options("/v1/jobs", headers=asks | {"Origin": PAGE})
        assert preflight.headers["access-control-allow-origin"] == PAGE
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        assert "access-control-allow-credentials" not in preflight.headers
        made = http.post(
            "/v1/jobs",
            json={"spec": {"experiment": "neuron"}},
            headers={"Origin": PAGE, "Sec-Fetch-Site": "cross-site"},
        )
        assert made.status_code == 201
        assert made.headers["access-control-allow-origin"] == PAGE
        assert "location" in made.headers["access-control-expose-headers"].lower()
        for origin in ("https://evil.test", "http://lab.example.org", f"{PAGE}.evil.test", f"{PAGE}:444", "null"):
            for answer in (http.options("/v1/jobs", headers=asks | {"Origin": origin}), read(http, origin)):
                assert "access-control-allow-origin" not in answer.headers
            problem(http.post("/v1/jobs", json={"spec": {}}, headers={"Origin": origin}), 403, "cross_site_request")


def read(http: httpx.Client, origin: str) -> httpx.Response:
    return http.get("/v1/jobs", headers={"Origin": origin})


def test_without_the_setting_no_page_of_another_site_may_read_anything(http):
    answer = read(http, PAGE)

    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]
