"""Start this project's programs at once: fork them from a process that has imported them.

A service spends one or two seconds of CPU on imports, and the tests start hundreds. A forked program has a process, a
session, an environment and signal handlers of its own, and ends as `python -m` does.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from fcntl import F_DUPFD, fcntl
from functools import cache
from pathlib import Path

# What the programs import at their start, or at their first request.
_IMPORTED = (
    "service.__main__",
    "workers.__main__",
    "alembic.command",
    "alembic.autogenerate",
    "anyio._backends._asyncio",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.httptools_impl",
)
_MAX_REQUEST = 1 << 17
_MAX_DESCRIPTORS = 16
# Received descriptors are moved here, out of the way of the numbers that the program expects.
_FREE_FROM = 500


class WarmProcess:
    """A program started by `start`, with those methods of `subprocess.Popen` that the tests need."""

    def __init__(self, command: list[str], pid: int, status: int) -> None:
        """Take over a started program.

        Args:
            command: its module and arguments.
            pid: its process.
            status: descriptor from which the end of the program can be read, as `os.wait` gives it.
        """
        self.args = command
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal; None if the program still runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program; return the exit code, or minus the signal."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            ended = os.read(self._status, 32)
            os.close(self._status)
            # Nobody waited for the program if its watcher was killed, as at the end of a run.
            self.returncode = os.waitstatus_to_exitcode(int(ended)) if ended else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(command: list[str], *, environment: dict[str, str], output: int, pass_fds: list[int]) -> WarmProcess:
    """Start `python -m COMMAND` in a session of its own.

    Args:
        command: module and arguments.
        environment: all its variables.
        output: descriptor for its standard output and standard error.
        pass_fds: descriptors that it inherits, under the same numbers.
    """
    requests = _server()
    status, write_status = os.pipe()
    try:
        request = {"command": command, "environment": environment, "cwd": str(Path.cwd()), "pass_fds": pass_fds}
        socket.send_fds(requests, [json.dumps(request).encode()], [write_status, output, *pass_fds])
    finally:
        os.close(write_status)
    pid = os.read(status, 32)
    assert pid, f"no process for {command}"
    return WarmProcess(command, int(pid), status)


def close() -> None:
    """End the process that forks the programs, if one runs in this process's name."""
    if _server.cache_info().currsize:
        _server().close()
        _process.wait()
        _server.cache_clear()


_process: subprocess.Popen[bytes]


@cache
def _server() -> socket.socket:
    global _process
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        _process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.warm_start", str(theirs.fileno())],
            cwd=Path(__file__).parent.parent.parent,
            # A fork of a process with threads is not safe.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return ours


def _serve(requests: socket.socket) -> list[str] | None:
    """Fork programs until the other end closes.

    Returns:
        None at the end; in a forked program its command.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the watchers are not waited for
    while True:
        request, received, *_ = socket.recv_fds(requests, _MAX_REQUEST, _MAX_DESCRIPTORS)
        if not request:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            return _watched(json.loads(request), received)
        for descriptor in received:
            os.close(descriptor)


def _watched(request: dict, received: list[int]) -> list[str]:
    """Fork the program from its watcher, which reports its pid and its end, in this order."""
    status, *others = [fcntl(descriptor, F_DUPFD, _FREE_FROM) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    pid = os.fork()
    if pid:
        for descriptor in others:
            os.close(descriptor)
        os.write(status, str(pid).encode().ljust(32))
        ended = os.waitpid(pid, 0)[1]
        with suppress(BrokenPipeError):
            os.write(status, str(ended).encode())
        os._exit(0)
    os.close(status)
    os.setsid()
    output, *passed = others
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    for descriptor, number in zip(passed, request["pass_fds"], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    return request["command"]


def main() -> None:
    """Import the programs, fork them on request, and be the one that was asked for."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    command = _serve(requests)
    if command is not None:
        gc.unfreeze()
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
