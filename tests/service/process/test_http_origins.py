"""Pages of other sites, which a browser on this machine shows, can neither read nor change anything."""

import pytest

from tests.helpers import plain_http
from tests.helpers.problems import problem
from tests.helpers.processes import Deployment

NEURON = {"spec": {"experiment": "neuron"}}


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:{port}", "localhost.evil.test", "192.0.2.1", "[::2]", "", "127.0.0.1.evil.test"]
)
def test_a_request_for_another_host_is_refused(http, host):
    given = {"Host": host.format(port=http.base_url.port)}
    for method, path in (
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs"),
        ("GET", "/nowhere"),
        ("GET", "/docs"),
        ("HEAD", "/"),
    ):
        answer = http.request(method, path, headers=given)
        assert answer.status_code == 421
        if method != "HEAD":
            assert "COSTCURVE_ALLOWED_HOSTS" in problem(answer, 421, "misdirected_request")["detail"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "localhost.", "127.0.0.1:1", "[::1]:{port}", "[::1]"]
)
def test_a_loopback_service_answers_for_its_own_names(http, host):
    assert http.get("/v1/jobs", headers={"Host": host.format(port=http.base_url.port)}).status_code == 200


def test_probes_and_scrapers_may_go_by_any_address_but_by_no_other_name(http):
    for path in ("/healthz", "/readyz", "/metrics"):
        for address in ("10.1.2.3:8000", "[fd00::1]:8000", "172.17.0.2"):
            assert http.get(path, headers={"Host": address}).status_code == 200
        problem(http.get(path, headers={"Host": "evil.test"}), 421, "misdirected_request")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "https://localhost.evil.test"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://user@127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "chrome-extension://abc"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
        {"Origin": ""},
    ],
)
def test_a_page_of_another_site_changes_nothing(http, headers):
    location = http.post("/v1/jobs", json=NEURON).headers["location"]
    given = {name: value.format(port=http.base_url.port) for name, value in headers.items()}

    for method, path, body in (
        ("POST", "/v1/jobs", NEURON),
        ("POST", f"{location}/cancel", None),
        ("POST", f"{location}/clone", None),
        ("PATCH", location, {"name": "stolen"}),
        ("DELETE", location, None),
        ("POST", "/v1/sweeps", NEURON),
    ):
        problem(http.request(method, path, json=body, headers=given), 403, "cross_site_request")
    job = http.get(location, headers=given).json()
    assert (job["status"], job["name"]) == ("queued", None)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:{port}", "Host": "localhost:{port}"},
        {"Origin": "https://localhost", "Host": "localhost"},
        {"Origin": "https://localhost:443", "Host": "localhost"},
    ],
)
def test_pages_of_the_service_itself_and_programs_change_what_they_like(http, headers):
    given = {name: value.format(port=http.base_url.port) for name, value in headers.items()}

    assert http.post("/v1/jobs", json=NEURON, headers=given).status_code == 201


def test_the_hosts_are_those_of_the_setting(tmp_path):
    with Deployment(
        tmp_path, environment={"COSTCURVE_ALLOWED_HOSTS": "Costcurve.example.org, 127.0.0.1"}
    ) as deployment:
        deployment.start_service()
        for host, status in (("costcurve.example.org", 200), ("127.0.0.1", 200), ("localhost", 421)):
            assert plain_http.get(f"{deployment.url}/v1/jobs", headers={"Host": host}).status_code == status
