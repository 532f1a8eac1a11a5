"""Keys that come without TLS, heavy requests of one key, and failed keys, in a service of this process."""

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from service.app import create_app
from service.key_limits import KeyRules
from service.routes import curves
from tests.helpers.key_service import key_service
from tests.helpers.problems import problem
from tests.helpers.processes import until

KEY = "cck_0123456789ab_" + "c4nary" * 7 + "x"


def ask(app, peer: str, headers: dict[str, str], *, url: str = "http://service") -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 1234))
        async with httpx.AsyncClient(transport=transport, base_url=url) as http:
            return await http.get("/v1/version", headers={"Authorization": f"Bearer {KEY}", **headers})

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("peer", "headers", "url", "is_warned"),
    [
        ("192.0.2.7", {}, "http://service", True),
        ("192.0.2.7", {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}, "http://service", True),
        ("::ffff:192.0.2.7", {}, "http://service", True),
        ("192.0.2.7", {}, "https://service", False),
        ("10.1.2.3", {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}, "http://service", False),
        ("10.1.2.3", {}, "http://service", False),
        ("127.0.0.1", {}, "http://service", False),
        ("::1", {}, "http://service", False),
    ],
)
def test_a_key_without_tls_from_another_machine_is_warned_of(store, caplog, peer, headers, url, is_warned):
    app = create_app(store._database, proxies=["10.0.0.0/8"], keys=KeyRules())
    with caplog.at_level(logging.WARNING):
        problem(ask(app, peer, headers, url=url), 401, "unauthorized")
    assert ("a key came without TLS from 192.0.2.7" in caplog.text) == is_warned
    assert "c4nary" not in caplog.text


def test_failed_keys_are_limited_by_the_address_that_a_trusted_proxy_names(store):
    app = create_app(store._database, proxies=["10.0.0.0/8"], keys=KeyRules(failures_per_minute=2))
    for _ in range(2):
        problem(ask(app, "10.1.2.3", {"X-Forwarded-For": "192.0.2.7"}), 401, "unauthorized")
    refused = ask(app, "10.1.2.3", {"X-Forwarded-For": "192.0.2.7"})
    assert "valid" in problem(refused, 429, "rate_limited")["detail"]
    assert refused.headers["retry-after"] == "30"
    problem(ask(app, "10.1.2.3", {"X-Forwarded-For": "192.0.2.8"}), 401, "unauthorized")
    problem(ask(app, "192.0.2.9", {"X-Forwarded-For": "192.0.2.7"}), 401, "unauthorized")


def test_a_key_has_only_as_many_heavy_requests_at_once_as_it_may(tmp_path, migrated_sqlite, monkeypatch):
    free, begun = threading.Event(), threading.Event()
    reading = curves.Reading

    def slow(*arguments: object, **options: object) -> object:
        begun.set()
        assert free.wait(120)
        return reading(*arguments, **options)

    monkeypatch.setattr(curves, "Reading", slow)
    rules = KeyRules(requests_per_second=1000, heavy_requests=1)
    with key_service(tmp_path, migrated_sqlite, rules) as service, ThreadPoolExecutor(1) as pool:
        job = service.ask("ours", "POST", "/v1/jobs", json={"spec": {"experiment": "neuron"}}).json()["id"]
        path = f"/v1/jobs/{job}/transcript"
        first = pool.submit(service.ask, "ours", "GET", path)
        assert begun.wait(120)
        refused = service.ask("ours", "GET", path)
        assert "1 plots, comparisons" in problem(refused, 429, "rate_limited")["detail"]
        assert refused.headers["retry-after"] == "1"
        assert service.ask("ours", "GET", f"/v1/jobs/{job}").status_code == 200
        free.set()
        assert first.result(120).status_code == 200
        until(lambda: service.ask("ours", "GET", path).status_code, lambda status: status == 200)
