"""Start this project's programs at once: fork them from a process that has imported them.

A service spends one or two seconds of CPU on imports, and the tests start hundreds. A forked program has a process, a
session, an environment and signal handlers of its own, and ends as `python -m` does.
"""

import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from fcntl import F_DUPFD, fcntl
from functools import cache
from pathlib import Path

from costcurve.runtime import fork_server
from costcurve.runtime.fork_server import UNKNOWN, ForkedProcess, ForkServer
from workers.supervisor import PRELOADED

# What the programs import at their start, or at their first request.
_IMPORTED = (
    "service.__main__",
    "alembic.autogenerate",
    "alembic.command",
    "anyio._backends._asyncio",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.helpers.warm_start",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.httptools_impl",
)
# The supervisor of workers has a fork server of its own, which imports torch.
_WITH_TORCH = ("workers.__main__", *PRELOADED)
# A program's umask when it starts its fork server.
_MASK = struct.Struct("=H")
# Received descriptors are moved here, out of the way of the numbers that the program expects.
_FREE_FROM = 500


class WarmProcess:
    """A program started by `start`, with those methods of `subprocess.Popen` that the tests need."""

    def __init__(self, command: list[str], process: ForkedProcess) -> None:
        self.args = command
        self._process = process
        while process.is_alive() and process.pid is None:
            select.select([process.sentinel], [], [])
        assert process.pid is not None, process.error
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal, once `poll` or `wait` has seen the end."""
        code = self._process.exitcode
        return -signal.SIGKILL if code == UNKNOWN else code

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal; None if the program still runs."""
        self._process.is_alive()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program; return the exit code, or minus the signal."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


# A running program, however it was started.
Program = WarmProcess | subprocess.Popen[bytes]


def start(command: list[str], *, environment: dict[str, str], output: int, pass_fds: list[int]) -> Program:
    """Start `python -m COMMAND` in a session of its own.

    A program whose interpreter would begin otherwise, for instance with another PYTHONPATH, is not forked.

    Args:
        command: module and arguments.
        environment: all its variables.
        output: descriptor for its standard output and standard error.
        pass_fds: descriptors that it inherits, under the same numbers.
    """
    if _of_the_interpreter(environment) != _of_the_interpreter(os.environ):
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    given = (command, environment, str(Path.cwd()), pass_fds)
    server = _server(_IMPORTED + _WITH_TORCH if command[0] == "workers" else _IMPORTED)
    return WarmProcess(command, server.start(_be, *given, descriptors=[output, *pass_fds]))


def close() -> None:
    """End the fork servers of this process."""
    while _servers:
        _servers.pop().close()
    _server.cache_clear()


def _of_the_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are read before a program begins."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LD_", "MALLOC_"))}


_servers: list[ForkServer] = []


@cache
def _server(imported: tuple[str, ...]) -> ForkServer:
    _servers.append(ForkServer(imported))
    return _servers[-1]


def _be(command: list[str], environment: dict[str, str], cwd: str, pass_fds: list[int], received: list[int]) -> None:
    os.setsid()
    output, *passed = [fcntl(descriptor, F_DUPFD, _FREE_FROM) for descriptor in received]
    for descriptor in received:
        os.close(descriptor)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    for descriptor, number in zip(passed, pass_fds, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv = list(command)
    if command[0] == "workers" and "--ray" not in command and _became_fork_server(pass_fds):
        return
    sys.modules.pop(f"{command[0]}.__main__", None)  # imported before, but not as the program
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def _became_fork_server(inherited: list[int]) -> bool:
    """Fork this process, which has imported torch, to be the fork server of the program; return True in the fork.

    The program adopts it as the first one that it starts. All later ones begin as they do in production.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        for number in inherited:
            os.close(number)
        mask = theirs.recv(_MASK.size)
        if mask:  # the program may end without a fork server
            os.umask(*_MASK.unpack(mask))
            fork_server.serve(theirs)
        return True
    theirs.close()
    begin = ForkServer._launch

    def adopt(server: ForkServer):
        ForkServer._launch = begin
        mask = os.umask(0)
        os.umask(mask)
        ours.sendall(_MASK.pack(mask))
        return _Child(pid), ours

    ForkServer._launch = adopt
    return False


class _Child:
    """A forked fork server, with those methods of `subprocess.Popen` that its owner needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._has_ended = False

    def poll(self) -> int | None:
        return 0 if self._ended(os.WNOHANG) else None

    def wait(self) -> int:
        self._ended(0)
        return 0

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _ended(self, options: int) -> bool:
        if not self._has_ended:
            self._has_ended = os.waitpid(self.pid, options)[0] == self.pid
        return self._has_ended
