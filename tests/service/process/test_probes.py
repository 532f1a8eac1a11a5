"""What probes learn while the database accepts connections and never answers."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from time import monotonic

import httpx
import psycopg
import pytest
from sqlalchemy import make_url

from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until


class Relay:
    """A relay to a database, which can stop passing anything on while its connections stay open."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._open.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay(postgresql_url) -> Iterator[tuple[Relay, str]]:
    """A relay, and the URL of the test's database through it."""
    with psycopg.connect(postgresql_url) as connection:
        folder = connection.execute("SHOW unix_socket_directories").fetchone()[0].split(",")[0].strip()
        port = connection.execute("SHOW port").fetchone()[0]
    relay = Relay(f"{folder}/.s.PGSQL.{port}")
    url = make_url(postgresql_url).set(host="127.0.0.1", port=relay.port).update_query_dict({}, append=False)
    yield relay, url.set(query={}).render_as_string(hide_password=False)
    relay.close()


def test_while_the_database_is_silent_healthz_is_well_and_readyz_says_so_in_time(relay, tmp_path):
    relay, url = relay
    with Deployment(tmp_path, environment={"COSTCURVE_DATABASE_URL": url}) as deployment:
        deployment.start_service()
        job_id = deployment.submit({"experiment": "neuron"})
        relay.freeze()

        def look(path: str, timeout: float = 60) -> tuple[int, bytes]:
            client = HTTPConnection("127.0.0.1", httpx.URL(deployment.url).port, timeout=timeout)
            try:
                client.request("GET", path)
                answer = client.getresponse()
                return answer.status, answer.read()
            except TimeoutError:
                return 0, b""
            finally:
                client.close()

        with ThreadPoolExecutor(60) as pool:
            stuck = [pool.submit(look, f"/v1/jobs/{job_id}", 10) for _ in range(57)]  # more than there are threads
            stuck += [pool.submit(look, "/metrics", 60) for _ in range(3)]
            until(lambda: look("/readyz")[0], lambda status: status == 503)  # its last answer is good for a second
            for _ in range(3):
                started = monotonic()
                assert look("/healthz")[0] == 200
                status, answer = look("/readyz")
                assert (status, json.loads(answer)["code"]) == (503, "store_unavailable")
                assert "did not answer within 2.5 s" in json.loads(answer)["detail"]
                assert monotonic() - started < 15
            found = [each.result() for each in stuck]
        assert {status for status, _ in found[:-3]} == {0}
        assert all(status == 200 and b"costcurve_store_up 0" in text for status, text in found[-3:])

        relay.thaw()
        until(lambda: look("/readyz")[0], lambda status: status == 200, timeout=30)
        assert plain_http.get(f"{deployment.url}/v1/jobs/{job_id}", timeout=30).status_code == 200


def test_a_service_whose_database_is_silent_still_ends_on_sigterm(relay, tmp_path):
    relay, url = relay
    with Deployment(tmp_path, environment={"COSTCURVE_DATABASE_URL": url}) as deployment:
        deployment.start_service()
        relay.freeze()
        with suppress(httpx.TimeoutException):
            plain_http.get(f"{deployment.url}/v1/jobs", timeout=1)

        assert deployment.stop(deployment.service, timeout=30) < 25
