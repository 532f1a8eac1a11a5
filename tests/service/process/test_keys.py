"""A real service that requires keys: its first key, its limits, and a key that is searched for everywhere."""

import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from costcurve import Client
from tests.helpers import plain_http
from tests.helpers.problems import problem
from tests.helpers.processes import Deployment

NEURON = {"spec": {"experiment": "neuron"}}
CLIENTS = 50
PER_SECOND = 5


def with_keys(home: Path, **settings: str) -> Deployment:
    """A service that requires keys; the first one is in the file `first-key`."""
    given = {f"COSTCURVE_{name}": value for name, value in settings.items()}
    file = str(home / "first-key")
    return Deployment(home, environment={"COSTCURVE_AUTH": "keys", "COSTCURVE_INIT_KEY_FILE": file, **given})


def first_key(deployment: Deployment) -> str:
    return (deployment.home / "first-key").read_text().strip()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory) -> Iterator[Deployment]:
    with with_keys(
        tmp_path_factory.mktemp("home"), KEY_REQUESTS_PER_SECOND=f"{PER_SECOND}", LOG_LEVEL="DEBUG"
    ) as deployment:
        deployment.start_service()
        yield deployment


def test_the_first_key_is_in_its_file_for_its_user_alone_and_is_made_once(tmp_path):
    with with_keys(tmp_path) as deployment:
        deployment.start_service()
        file = tmp_path / "first-key"
        key = first_key(deployment)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert re.fullmatch(r"cck_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key)
        me = plain_http.get(f"{deployment.url}/v1/me", headers=bearer(key)).json()
        assert (me["project"], me["scopes"]) == ("default", ["admin", "read", "submit"])
        [listed] = plain_http.get(f"{deployment.url}/v1/keys", headers=bearer(key)).json()["items"]
        assert listed["id"] == me["key_id"]

        file.unlink()
        deployment.stop(deployment.service)
        deployment.start_service()
        assert not file.exists()
        assert plain_http.get(f"{deployment.url}/v1/me", headers=bearer(key)).status_code == 200
        assert [each.name for each in tmp_path.iterdir() if "first-key" in each.name] == []


def test_a_first_key_that_cannot_be_written_ends_the_start_and_leaves_no_key(tmp_path):
    (tmp_path / "file").touch()
    with with_keys(tmp_path, INIT_KEY_FILE=str(tmp_path / "file" / "key")) as deployment:
        assert deployment._start(["service", "--port", "0"]).wait(120) == 1
        assert "cannot start: the first key cannot be written to" in (tmp_path / "service.log").read_text()
    with closing(sqlite3.connect(tmp_path / "costcurve.db")) as database:
        assert database.execute("SELECT count(*) FROM api_keys WHERE revoked_at IS NULL").fetchone() == (0,)


def test_with_keys_the_service_listens_on_any_address(tmp_path):
    with with_keys(tmp_path) as deployment:
        deployment.start_service()  # the port is then known to be free for this
        port = deployment.url.rpartition(":")[2]
        deployment.stop(deployment.service)
        deployment._reserved.close()
        program = deployment._start(["service", "--host", "0.0.0.0", "--port", port])
        with httpx.Client(base_url=deployment.url, transport=httpx.HTTPTransport(retries=10), timeout=120) as http:
            problem(http.get("/v1/jobs"), 401, "unauthorized")
            assert http.get("/v1/jobs", headers=bearer(first_key(deployment))).status_code == 200
        assert program.poll() is None


def test_a_request_beyond_the_limit_is_a_429_that_says_which_and_when(keyed):
    with httpx.Client(base_url=keyed.url, headers=bearer(first_key(keyed)), timeout=120) as http:
        answers = [http.get("/v1/version") for _ in range(4 * PER_SECOND)]
    refused = [each for each in answers if each.status_code == 429]
    assert refused
    for answer in refused:
        document = problem(answer, 429, "rate_limited")
        assert document["detail"] == "this key may make 5 requests a second; try again in 1 s"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"] == '"requests";r=0;t=1'
        assert answer.headers["ratelimit-policy"].startswith('"requests";q=5;w=1')
        assert answer.headers["vary"] == "Authorization"


@pytest.mark.slow
def test_fifty_clients_that_honour_retry_after_lose_nothing(keyed):
    key = first_key(keyed)
    together = threading.Barrier(CLIENTS)

    def one(number: int) -> str:
        with Client(keyed.url, api_key=key) as client:
            together.wait(120)
            return client.submit(name=f"client {number}", **NEURON).id

    with ThreadPoolExecutor(CLIENTS) as pool:
        jobs = list(pool.map(one, range(CLIENTS)))
    assert len(set(jobs)) == CLIENTS


def test_a_key_is_nowhere_but_in_its_file(keyed, tmp_path):
    with httpx.Client(base_url=keyed.url, timeout=120, transport=httpx.HTTPTransport(retries=3)) as http:

        def ask(method: str, path: str, **options: object) -> httpx.Response:
            while (answer := http.request(method, path, headers=bearer(canary), **options)).status_code == 429:
                threading.Event().wait(float(answer.headers["retry-after"]))
            return answer

        canary = first_key(keyed)
        secret = canary[len("cck_") + 13 :]
        location = ask("POST", "/v1/jobs", json={**NEURON, "name": "watched"}).headers["location"]
        answers = [
            ask("GET", "/v1/keys"),
            ask("GET", f"{location}/events"),
            ask("GET", location),
            ask("POST", "/v1/jobs", content=b"{"),
            ask("GET", "/v1/nowhere"),
            ask("GET", "/metrics"),
            http.get("/v1/jobs", headers=bearer(canary[:-1])),
            http.get("/v1/jobs", headers={"Authorization": f"Basic {canary}"}),
        ]
        for answer in answers:
            assert secret not in answer.text
            assert secret not in str(answer.headers.multi_items())
    assert any("watched" in answer.text for answer in answers)
    for file in keyed.home.iterdir():
        assert file.name == "first-key" or secret.encode() not in file.read_bytes(), file
    log = (keyed.home / "service.log").read_text()
    assert "first-admin" in log
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            shown = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        assert secret.encode() not in shown
    environment = Path(f"/proc/{keyed.service.pid}/environ").read_bytes() if os.name == "posix" else b""
    assert secret.encode() not in environment
