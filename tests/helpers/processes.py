"""The real programs as real processes: services and workers, each pair on a home of its own."""

import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TypeVar

from tests.helpers import plain_http, warm_start
from tests.helpers.warm_start import Program

T = TypeVar("T")

# Seconds between two looks at a job; each costs the service some milliseconds of CPU.
_POLL = 0.1


@dataclass
class Deployment:
    """Services and workers on one home. Use as a context manager: leaving it kills what still runs."""

    home: Path
    mnist_dir: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[Program] = field(default_factory=list)
    url: str = ""
    service: Program | None = None
    # Keeps the service's port while no service listens there: bound, not listening, so connections are refused.
    _reserved: socket.socket = field(default_factory=socket.socket)

    def __enter__(self) -> "Deployment":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            _end_session(process.pid)
            process.wait()
        # Workers outlive a supervisor that is killed for a moment, in which they still write.
        until(lambda: [pid for process in self.processes for pid in _session(process.pid)], lambda left: not left)
        self._reserved.close()

    def start_service(self) -> None:
        """Start the service and wait until it answers; started again, it listens on the same port."""
        if not self.url:
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._reserved.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self._reserved.getsockname()[1]}"
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(self._reserved.getsockname())
        listener.listen()
        self.service = self._start(["service", "--fd", str(listener.fileno())], pass_fds=[listener.fileno()])
        listener.close()
        # The socket listens already, so the connection waits in its queue until the service accepts it.
        plain_http.get(f"{self.url}/readyz", timeout=120).raise_for_status()

    def start_workers(self, processes: int = 1, *, pack: int = 1, program: str = "workers") -> Program:
        """Start a supervisor with this many worker processes; returns at once."""
        return self._start([program, "--processes", str(processes), "--pack", str(pack)], log_name="workers")

    def start_fleet(self, address: str) -> Program:
        """Start a fleet on the Ray cluster at this address; returns at once."""
        return self._start(["workers", "--ray", address, "--ray-without-token"])

    def stop(self, process: Program, *, timeout: float = 120) -> float:
        """SIGTERM; the seconds that the process then took to end."""
        started = monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(timeout)
        return monotonic() - started

    def submit(self, spec: dict | None = None, **fields: object) -> str:
        """Queue a job; its id."""
        body = {"spec": spec, **fields} if spec is not None else fields
        answer = plain_http.post(f"{self.url}/v1/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def job(self, job_id: str) -> dict:
        return plain_http.get(f"{self.url}/v1/jobs/{job_id}").raise_for_status().json()

    def curve(self, job_id: str) -> dict:
        return plain_http.get(f"{self.url}/v1/jobs/{job_id}/curve").raise_for_status().json()

    def ended(self, job_id: str, *, timeout: float = 250) -> dict:
        """The job, once it has ended."""
        return until(lambda: self.job(job_id), lambda job: job["is_terminal"], timeout=timeout, every=_POLL)

    def running(self, job_id: str, *, timeout: float = 120) -> dict:
        """The job, once some steps are done."""
        return until(
            lambda: self.job(job_id),
            lambda job: job["status"] == "running" and job["progress"]["step"],
            timeout=timeout,
            every=_POLL,
        )

    def _start(self, command: list[str], pass_fds: list[int] | None = None, log_name: str | None = None) -> Program:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("COSTCURVE_")}
        environment = ours | {"COSTCURVE_HOME": str(self.home)} | self.environment
        if self.mnist_dir is not None:
            environment.setdefault("COSTCURVE_DATA_DIR", str(self.mnist_dir))
        with (self.home / f"{log_name or command[0]}.log").open("ab") as log:
            process = warm_start.start(command, environment=environment, output=log.fileno(), pass_fds=pass_fds or [])
        self.processes.append(process)
        return process


def _end_session(leader: int) -> None:
    for pid in _session(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """The processes of a session that still live, whether or not its leader does."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, _parent, _group, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(session) == leader and state != "Z":
                found.append(int(folder.name))
    return found


def is_running(pid: int) -> bool:
    """Return True if the process lives; one that has ended, and whose parent has not noticed yet, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def free_port() -> int:
    """Return a port that is free now, for programs that take no listening socket.

    It lies below the ports that the system gives to sockets that ask for none (ip_local_port_range), so nothing takes
    it by chance before the program does.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of 100 random ports from 20000 to 32000 is free")


def until(look: Callable[[], T], holds: Callable[[T], object], *, timeout: float = 120, every: float = 0.02) -> T:
    """Return what `look` gives as soon as it `holds`; fail after `timeout` seconds with what it gave last."""
    pause = threading.Event()
    deadline = monotonic() + timeout
    while True:
        seen = look()
        if holds(seen):
            return seen
        assert monotonic() < deadline, f"not within {timeout} s; last seen: {seen}"
        pause.wait(every)
