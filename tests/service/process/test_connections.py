"""Clients that trickle, stall, do not read or send too much, and a service that nobody stands in front of."""

import re
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic

import httpx
import pytest

from costcurve.core.curve import Curve
from costcurve.store.curve_chunks import chunk_of, write_chunks
from costcurve.store.database import Database
from costcurve.store.schema import jobs
from tests.helpers import plain_http
from tests.helpers.processes import Deployment, until

SHORT = {
    "COSTCURVE_HEAD_SECONDS": "1",
    "COSTCURVE_STALL_SECONDS": "2",
    "COSTCURVE_MIN_BYTES_PER_SECOND": "1000",
}
BODY = b'{"spec": {"experiment": "neuron"}}'


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path, environment=dict(SHORT)) as deployment:
        deployment.start_service()
        yield deployment


@pytest.fixture
def connect(deployment) -> Iterator[Callable[..., socket.socket]]:
    """Connections to the service, which send what they are given."""
    opened: list[socket.socket] = []

    def connect(data: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        opened.append(client)
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.connect(("127.0.0.1", httpx.URL(deployment.url).port))
        client.sendall(data)
        return client

    yield connect
    for client in opened:
        client.close()


def long_job(deployment: Deployment, points: int) -> str:
    """A job with a recorded curve of so many points, written in one run."""
    job_id = deployment.submit({"experiment": "neuron", "epochs": points})
    record(deployment.home, [job_id], points)
    return job_id


def record(home: Path, job_ids: list[str], points: int, *, run: int = 100_000) -> None:
    """Give these jobs curves, as a worker that trained so long would have."""
    database = Database(f"sqlite:///{home}/costcurve.db")
    metrics = ("cost", "output", "weight", "bias", "gradient", "sigmoid_prime", "slowdown_factor")
    for job_id in job_ids:
        with database.write() as tx:
            pk = tx.scalar(jobs.select().with_only_columns(jobs.c.pk).where(jobs.c.id == job_id))
            for start in range(0, points, run):
                column = [1 / (x + 1.5) for x in range(start, min(start + run, points))]
                write_chunks(tx, "epoch", [chunk_of(pk, Curve(start, dict.fromkeys(metrics, column)))])
    database.close()


def request(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()


def post(length: int) -> bytes:
    return request("POST", "/v1/jobs", "Content-Type: application/json", f"Content-Length: {length}")


def everything(client: socket.socket) -> bytes:
    """All that the service sends until it closes."""
    received = b""
    while chunk := client.recv(1 << 20):
        received += chunk
    return received


def trickle(client: socket.socket, byte: bytes, *, every: float, most: float) -> float:
    """Send a byte now and then until the service closes; the seconds it took."""
    pause, started = Event(), monotonic()
    client.settimeout(every)
    while monotonic() - started < most:
        try:
            client.sendall(byte)
            if client.recv(1 << 16) == b"":
                return monotonic() - started
        except TimeoutError:
            pause.wait(0)
        except ConnectionError:
            return monotonic() - started
    raise AssertionError(f"it is still open after {most} s")


def flooded(client: socket.socket, data: bytes, *, most: int) -> int:
    """Send this again and again until the service takes no more; how many bytes it took."""
    sent = 0
    with suppress(ConnectionError, TimeoutError):
        while sent < most:
            sent += client.send(data)
    return sent


def sockets(deployment: Deployment) -> int:
    """How many sockets the service has open."""
    links = Path(f"/proc/{deployment.service.pid}/fd").iterdir()
    return sum(link.is_socket() for link in links)


def memory(deployment: Deployment) -> float:
    """Resident memory of the service, in MiB."""
    status = Path(f"/proc/{deployment.service.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def test_a_connection_on_which_no_request_comes_is_closed(connect):
    started = monotonic()

    assert everything(connect()) == b""
    assert monotonic() - started < 4


def test_headers_that_trickle_are_answered_with_408_and_closed(connect):
    answer = everything(connect(b"GET /healthz HTTP/1.1\r\nHost: loc"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code": "request_too_slow"' in answer

    client = connect(b"GET /healthz HTTP/1.1\r\n")
    assert trickle(client, b"x", every=0.2, most=10) < 5


def test_a_body_that_trickles_is_answered_with_408_and_closed(connect):
    answer = everything(connect(post(500) + b"{"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"1000 bytes a second" in answer

    assert trickle(connect(post(5000)), b" ", every=0.2, most=15) < 9


def test_a_body_that_is_slow_but_steady_is_read(connect):
    body = BODY + b" " * 12_000
    client = connect(post(len(body)))
    pause = Event()
    for start in range(0, len(body), 1000):
        client.sendall(body[start : start + 1000])
        pause.wait(0.4)  # 2,500 bytes a second, for five seconds

    assert client.recv(100).startswith(b"HTTP/1.1 201 ")


def test_a_second_request_on_a_connection_has_the_same_deadlines(connect):
    client = connect(request("GET", "/healthz"))
    assert client.recv(1 << 16).startswith(b"HTTP/1.1 200 ")

    assert trickle(client, b"G", every=0.2, most=10) < 5


def test_headers_without_end_are_refused(connect):
    assert flooded(connect(b"GET /healthz HTTP/1.1\r\nX-Long: "), b"x" * 65536, most=1 << 30) < 32 << 20

    many = b"".join(b"X-%d: y\r\n" % number for number in range(20_000))
    assert everything(connect(b"GET /healthz HTTP/1.1\r\n" + many)).startswith(b"HTTP/1.1 431 ")


def test_after_413_the_connection_ends_and_what_still_comes_is_not_swallowed(connect):
    assert flooded(connect(post(1 << 30)), b" " * 65536, most=1 << 30) < 32 << 20

    polite = connect(post(1 << 30))  # reads before it sends on
    answer = everything(polite)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


def test_requests_ahead_of_their_responses_are_answered_in_order_and_bounded(connect):
    client = connect(request("GET", "/healthz") * 3 + request("GET", "/nowhere", "Connection: close"))
    assert re.findall(rb"HTTP/1.1 (\d+) ", everything(client)) == [b"200", b"200", b"200", b"404"]

    assert flooded(connect(), request("GET", "/v1/jobs") * 500, most=1 << 30) < 32 << 20


def test_clients_that_do_not_read_are_closed_and_cost_little_memory(deployment, connect):
    job_id = long_job(deployment, 200_000)
    plain_http.get(f"{deployment.url}/v1/jobs/{job_id}/curve.csv", timeout=60).raise_for_status()
    before, alone = memory(deployment), sockets(deployment)
    paths = [f"/v1/jobs/{job_id}/curve.csv", f"/v1/jobs/{job_id}/curve"]
    stalled = [connect(request("GET", paths[number % 2]), receive_buffer=4096) for number in range(20)]
    until(lambda: sockets(deployment), lambda count: count >= len(stalled))
    most = before

    def look() -> int:
        nonlocal most
        most = max(most, memory(deployment))
        return sockets(deployment)

    until(look, lambda count: count <= alone, timeout=60, every=0.1)
    assert most - before < 260
    for client in stalled:
        with pytest.raises((ConnectionError, TimeoutError, AssertionError)):
            assert b"0\r\n\r\n" in everything(client)[-10:]


def test_a_download_that_is_slow_but_steady_arrives_whole(deployment):
    job_id = long_job(deployment, 20_000)
    url = f"{deployment.url}/v1/jobs/{job_id}/curve.csv"
    whole = plain_http.get(url, timeout=60).content
    pause, received = Event(), b""
    small = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)])
    with httpx.Client(transport=small, timeout=60) as client, client.stream("GET", url) as answer:
        for chunk in answer.iter_raw(30_000):
            received += chunk
            pause.wait(0.05)

    assert received == whole


def test_with_few_descriptors_probes_are_answered_while_others_hold_connections(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        deployment = Deployment(tmp_path, environment={"COSTCURVE_HEAD_SECONDS": "60"})
        with deployment:
            deployment.start_service()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            address = ("127.0.0.1", httpx.URL(deployment.url).port)
            held = [socket.create_connection(address, timeout=10) for _ in range(200)]
            for number, client in enumerate(held):
                if number % 2:
                    try:
                        client.sendall(b"GET / HTTP/1.1\r\n")
                    except ConnectionError:
                        continue  # it was closed to make room
            for _ in range(20):
                started = monotonic()
                assert plain_http.get(f"{deployment.url}/healthz", timeout=10).status_code == 200
                assert plain_http.get(f"{deployment.url}/readyz", timeout=10).status_code == 200
                assert monotonic() - started < 5
            for client in held:
                client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_the_service_ends_with_0_and_closes_its_database(deployment, tmp_path, signals):
    deployment.submit({"experiment": "neuron"})
    assert (tmp_path / "costcurve.db-wal").exists()
    for each in signals:
        deployment.service.send_signal(each)

    assert deployment.service.wait(20) == 0
    assert not (tmp_path / "costcurve.db-wal").exists()


def test_a_service_whose_disk_is_full_is_not_ready(deployment):
    assert plain_http.get(f"{deployment.url}/readyz").status_code == 200
    limits = resource.prlimit(deployment.service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(deployment.service.pid, resource.RLIMIT_FSIZE, (0, limits[1]))

    answer = until(
        lambda: plain_http.get(f"{deployment.url}/readyz"), lambda found: found.status_code == 503, timeout=10
    )
    assert answer.json()["code"] == "store_unavailable"
    assert (
        plain_http.post(
            f"{deployment.url}/v1/jobs", content=BODY, headers={"Content-Type": "application/json"}
        ).status_code
        == 503
    )
    assert plain_http.get(f"{deployment.url}/healthz").status_code == 200

    resource.prlimit(deployment.service.pid, resource.RLIMIT_FSIZE, limits)
    until(lambda: plain_http.get(f"{deployment.url}/readyz"), lambda found: found.status_code == 200, timeout=10)
