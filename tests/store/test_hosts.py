"""The Host header as servers hand it on that do not look at it themselves."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from service.http.origins import Origins


def status_of(
    hosts: Sequence[bytes], *, path: str = "/v1/jobs", version: str = "1.1", method: str = "GET"
) -> tuple[int, str]:
    """The status and the code that a request with these Host headers gets; 200 if it is passed on."""
    sent: list[dict] = []

    async def application(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"code": "served"}'})

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": version,
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", host) for host in hosts],
    }
    asyncio.run(Origins(application, {"localhost", "[::1]"})(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])["code"]


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"localhost"], [b"localhost", b"evil.test"]])
@pytest.mark.parametrize("path", ["/v1/jobs", "/healthz"])
def test_a_request_has_one_host(hosts, path):
    assert status_of(hosts, path=path) == (400, "malformed_request")


def test_a_request_of_http_1_0_may_have_none_and_then_is_only_a_probe():
    assert status_of([], version="1.0") == (421, "misdirected_request")
    assert status_of([], version="1.0", path="/healthz") == (200, "served")


@pytest.mark.parametrize(
    "host", [b"[::1", b"]", b"localhost:", b"local host", b"\xff", b":8000", b"localhost@evil.test", b"[::1].evil.test"]
)
def test_odd_hosts_are_read_without_a_fault(host):
    status, _ = status_of([host])

    assert status == (200 if host == b"localhost:" else 421)
