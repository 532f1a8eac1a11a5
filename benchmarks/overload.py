"""Latencies and memory of a service while clients overload it.

Some clients ask for more than the service can compute, some trickle bytes, and some do not read their responses.
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from costcurve.core.curve import NEURON_METRICS, Curve
from costcurve.store.curve_chunks import chunk_of, write_chunks
from costcurve.store.database import Database
from costcurve.store.schema import jobs

PLOTS, COMPARISONS, TRICKLING, NOT_READING = 60, 60, 200, 20
JOBS = 16
# Approximate number of points in one report of such a job.
_RUN = 2_000


@dataclass
class Seen:
    """Measurements of one phase.

    Attributes:
        health: seconds of each `/healthz` response.
        polls: seconds of each response to a poll of a job.
        failures: failed probes and polls, in words.
        mebibytes: peak resident memory of the service, in MiB.
        statuses: HTTP statuses of the heavy requests.
    """

    health: list[float] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    mebibytes: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)


@contextmanager
def service(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a service on this home; yield its process and URL."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("COSTCURVE_")}
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with (home / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "--fd", str(listener.fileno())],
            env=ours | {"COSTCURVE_HOME": str(home)},
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
    listener.close()
    try:
        httpx.get(f"{url}/readyz", timeout=60).raise_for_status()
        yield process, url
    finally:
        process.terminate()
        process.wait(30)


def long_jobs(home: Path, url: str, epochs: int) -> list[str]:
    """Submit neuron jobs and store curves of `epochs` points for them.

    The curves are stored as if a worker had trained the jobs.
    """
    spec = {"experiment": "neuron", "epochs": epochs}
    with httpx.Client(base_url=url, timeout=60) as client:
        made = [client.post("/v1/jobs", json={"spec": spec | {"learning_rate": 0.1 + i / 100}}) for i in range(JOBS)]
    ids: list[str] = [answer.raise_for_status().json()["id"] for answer in made]
    database = Database(f"sqlite:///{home}/costcurve.db")
    for number, job_id in enumerate(ids):
        with database.write() as tx:
            pk = tx.scalar(jobs.select().with_only_columns(jobs.c.pk).where(jobs.c.id == job_id))
            for start in range(0, epochs, _RUN):
                column = [1 / (x + 1.5 + number) for x in range(start, min(start + _RUN, epochs))]
                run = chunk_of(pk, Curve(start, dict.fromkeys(NEURON_METRICS, column)))
                write_chunks(tx, "epoch", [run] if run is not None else [])
    database.close()
    return ids


def watch(process: subprocess.Popen[bytes], url: str, job_id: str, seconds: float) -> Seen:
    """Probe and poll for `seconds` seconds, as Kubernetes and clients would.

    Each request has a connection of its own.
    """
    seen, end = Seen(), time.monotonic() + seconds

    def look(path: str, into: list[float], every: float) -> None:
        while time.monotonic() < end:
            client = HTTPConnection("127.0.0.1", httpx.URL(url).port, timeout=60)
            started = time.monotonic()
            try:
                client.request("GET", path)
                answer = client.getresponse()
                answer.read()
            except OSError as error:
                seen.failures.append(f"{path}: {error!r}")
            else:
                if answer.status != httpx.codes.OK:
                    seen.failures.append(f"{path}: {answer.status}")
            into.append(time.monotonic() - started)
            client.close()
            time.sleep(every)

    looks: list[tuple[str, list[float], float]] = [("/healthz", seen.health, 0.05)]
    looks += [(f"/v1/jobs/{job_id}", seen.polls, 0.1)] * 4
    threads = [threading.Thread(target=look, args=each) for each in looks]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        seen.mebibytes = max(seen.mebibytes, memory(process.pid))
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return seen


def memory(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def overload(port: int, ids: list[str], seconds: float, statuses: Any) -> None:
    """Send all the load for `seconds` seconds, then close all connections.

    Runs in a process of its own.
    """
    counted = asyncio.run(_overload(port, ids, seconds))
    statuses.put(counted)


async def _overload(port: int, ids: list[str], seconds: float) -> Counter[int]:
    counted: Counter[int] = Counter()
    all_of_them = "&".join(f"job={job_id}" for job_id in ids)

    async def again(number: int, path: str) -> None:
        for round_ in range(1_000_000):
            with suppress(ConnectionError):
                counted[await _status(port, path.format(f"{number} {round_}".replace(" ", "-")))] += 1

    async def trickle() -> None:
        while True:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /healthz HTTP/1.1\r\n")
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1)

    async def not_read(path: str) -> None:
        while True:
            with suppress(ConnectionError):
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
                await asyncio.get_running_loop().sock_sendall(client, _request(path))
                await asyncio.sleep(seconds)

    work = [again(i, f"/v1/jobs/{ids[i % JOBS]}/curve.svg?title={{}}") for i in range(PLOTS)]
    work += [again(i, f"/v1/compare?{all_of_them}&max_points={1000 + i}") for i in range(COMPARISONS)]
    work += [trickle() for _ in range(TRICKLING)]
    work += [not_read(f"/v1/jobs/{ids[i % JOBS]}/curve.csv") for i in range(NOT_READING)]
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*work)
    return counted


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_request(path))
        head = await reader.readline()
        while await reader.read(1 << 16):
            pass
        return int(head.split()[1]) if head else 0
    finally:
        writer.close()


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def measured(home: Path, *, epochs: int, seconds: float, rest: float = 10.0) -> dict[str, Seen]:
    """Return the phases before, during and after the overload.

    The last phase starts `rest` seconds after the overload.
    """
    with service(home) as (process, url):
        ids = long_jobs(home, url, epochs)
        seen = {"before": watch(process, url, ids[0], 5)}
        context = multiprocessing.get_context("spawn")
        statuses = context.Queue()
        port = httpx.URL(url).port
        attacker = context.Process(target=overload, args=(port, ids, seconds, statuses))
        attacker.start()
        try:
            seen["overloaded"] = watch(process, url, ids[0], seconds + 2)
            seen["overloaded"].statuses = statuses.get(timeout=30)
            attacker.join(30)
        finally:
            attacker.kill()
            attacker.join()
        time.sleep(rest)
        seen["after"] = watch(process, url, ids[0], 5)
    return seen


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def main() -> None:
    """Measure, and write the record."""
    import record

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=1_000_000, help="points of each of the 16 curves (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="duration of the overload in seconds (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        seen = measured(Path(home), epochs=arguments.epochs, seconds=arguments.seconds)
    rows = [
        [
            phase,
            *(f"{1000 * percentile(each.health, share):.0f}" for share in (0.5, 0.99, 1)),
            *(f"{1000 * percentile(each.polls, share):.0f}" for share in (0.5, 0.99, 1)),
            f"{len(each.health)} / {len(each.polls)}",
            str(len(each.failures)),
            f"{each.mebibytes:.0f}",
        ]
        for phase, each in seen.items()
    ]
    header = ["phase", "healthz p50", "p99", "max", "poll p50", "p99", "max", "requests", "failed", "MiB"]
    counted = sorted(seen["overloaded"].statuses.items())
    record.write(
        "overload",
        "A service under overload",
        [
            f"{PLOTS} clients request plots and {COMPARISONS} request comparisons of {JOBS} jobs with "
            f"{arguments.epochs:,} epochs, each again after every response. {TRICKLING} clients send one byte per "
            f"second. {NOT_READING} request a curve as CSV and do not read the response. All do so for "
            f"{arguments.seconds:g} s on the service's own machine, then close their connections. The last phase "
            "starts 10 s later. Times are in milliseconds; memory is resident.",
            "",
            *record.table(header, rows),
            "",
            f"Responses to plots and comparisons: {', '.join(f'{count} × {status}' for status, count in counted)}.",
            *(f"- {failure}" for each in seen.values() for failure in each.failures[:5]),
        ],
    )


if __name__ == "__main__":
    main()
