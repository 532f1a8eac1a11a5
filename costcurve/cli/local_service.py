"""A service and its workers on this machine, started and ended together.

They are child processes of the command.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from errno import EADDRINUSE
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Self

from costcurve.cli.interrupt import Interruption
from costcurve.client.client import Client
from costcurve.client.errors import CostCurveError
from costcurve.runtime.listening import listen
from costcurve.runtime.paths import default_home

# On SIGTERM both end in about 4 seconds, and workers release their jobs. After the grace time they are killed.
_GRACE_SECONDS = 8.0
_STARTUP_SECONDS = 120.0
_LOOK_SECONDS = 0.2

# -P: Python does not look for the program in the current directory, which may have a folder of the same name.
_PYTHON = (sys.executable, "-P", "-m")
SERVICE = (*_PYTHON, "service")
WORKERS = (*_PYTHON, "workers")
STORE = (*_PYTHON, "costcurve.store")


class CannotStart(CostCurveError):
    """Error: the service or its workers cannot be started on this machine."""


class ChildEnded(CostCurveError):
    """Error: the service or its workers ended without a request."""


def require(extras: str, *modules: str) -> None:
    """Raise CannotStart if one of the extras' modules is not installed.

    The message says what to install.
    """
    if missing := [module for module in modules if importlib.util.find_spec(module) is None]:
        raise CannotStart(f"not installed here: {', '.join(missing)}; run: pip install 'costcurve[{extras}]'")


def require_program(name: str, extras: str, *modules: str) -> None:
    """Raise CannotStart if the program or one of its libraries is missing.

    The programs are `service` and `workers`. The client's package has neither: they run from a checkout or an image. A
    folder of the same name next to the user's script is not taken for a program.
    """
    if PathFinder.find_spec(name, sys.path if sys.flags.safe_path else sys.path[1:]) is None:
        raise CannotStart(
            f"the program `{name}` is not installed: pip installs only the client. "
            "Run it from a clone of the repository (make setup), or with docker compose (docs/deploy.md)"
        )
    require(extras, *modules)


def require_all() -> None:
    """Raise CannotStart unless both the service and the workers can start."""
    require_program("service", "service,worker", "fastapi")
    require_program("workers", "service,worker", "torch")


def home_folder() -> Path:
    """Return the folder of the database: COSTCURVE_HOME, or the platform's data folder."""
    given = os.environ.get("COSTCURVE_HOME")
    return Path(given).expanduser().absolute() if given else default_home()


class LocalService:
    """A service and its workers, which run while the context is entered.

    On exit they have ended, and so have all processes that they started.
    """

    def __init__(
        self,
        *,
        home: Path,
        host: str = "127.0.0.1",
        port: int = 8000,
        workers: int | None = None,
        log: Path | None = None,
        own_database: bool = False,
    ) -> None:
        """Bind the address before any of the processes starts.

        So `url` is known, and the port is known to be free.

        Args:
            home: folder of the database.
            host: address to listen on.
            port: port to listen on; 0 for any free one.
            workers: number of worker processes; one for each device if None.
            log: file for the output of the processes; standard error if None.
            own_database: whether to use the database in `home` and ignore COSTCURVE_DATABASE_URL; such a service
                requires no keys.

        Raises:
            CannotStart: a program or library is missing, or the address cannot be bound.
        """
        require_all()
        self.home = home
        self.log = log
        self._environment = {**os.environ, "COSTCURVE_HOME": str(home)}
        if own_database:
            self._environment.pop("COSTCURVE_DATABASE_URL", None)
            self._environment["COSTCURVE_AUTH"] = "off"  # it lives as long as the command, on a loopback address
        self._listener = _listen(host, port)
        self._workers = [] if workers is None else ["--processes", str(workers)]
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self.url = _url(self._listener)

    def __enter__(self) -> Self:
        with self._listener, ExitStack() as undo:
            undo.callback(self._stop)
            fd = self._listener.fileno()
            # The port of the metrics is the workers'; the service serves its own metrics where it listens.
            self._start(
                "service", [*SERVICE, "--lifeline", "--fd", str(fd)], pass_fds=[fd], without="COSTCURVE_METRICS_PORT"
            )
            self._start("workers", [*WORKERS, "--lifeline", *self._workers])
            undo.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def wait_until_ready(self, interruption: Interruption) -> bool:
        """Return True when the service answers, False if interrupted before.

        Raises:
            ChildEnded: a process has ended, or the service was not ready within 120 seconds.
        """
        deadline = time.monotonic() + _STARTUP_SECONDS
        with Client(self.url) as client:
            while not interruption.happened:
                if client.ready(timeout=1):
                    return True
                self.check()
                if time.monotonic() > deadline:
                    raise ChildEnded(f"the service was not ready within {_STARTUP_SECONDS:g} seconds{self._see_log()}")
                interruption.pause(_LOOK_SECONDS)
        return False

    def check(self) -> None:
        """Raise ChildEnded if one of the child processes has ended."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise ChildEnded(f"the {name} ended unexpectedly ({_how(child.returncode)}){self._see_log()}")

    def run(self, interruption: Interruption) -> None:
        """Watch the child processes until interrupted. Raises ChildEnded."""
        while not interruption.happened:
            self.check()
            interruption.pause(_LOOK_SECONDS)

    def _start(self, name: str, command: Sequence[str], *, pass_fds: Sequence[int] = (), without: str = "") -> None:
        log = 2 if self.log is None else os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._children[name] = subprocess.Popen(  # noqa: S603 - our own modules
                command,
                stdin=subprocess.PIPE,  # its lifeline: the system closes it even if this process is killed
                stdout=log,  # standard output belongs to the results of the command
                stderr=log,
                env={each: value for each, value in self._environment.items() if each != without},
                pass_fds=pass_fds,
                start_new_session=True,  # Ctrl-C signals this process alone, which ends both in order
            )
        finally:
            if log != 2:
                os.close(log)

    def _stop(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
            else:
                _signal_session(child.pid, signal.SIGTERM)  # processes that it left running
        deadline = time.monotonic() + _GRACE_SECONDS
        for child in self._children.values():
            if child.returncode is None:
                _wait_or_kill(child, deadline)
            else:
                while time.monotonic() < deadline and _signal_session(child.pid, 0):
                    time.sleep(_LOOK_SECONDS)
            _signal_session(child.pid, signal.SIGKILL)
            if child.stdin is not None:
                child.stdin.close()

    def _see_log(self) -> str:
        return "" if self.log is None else f"; see {self.log}"


def _listen(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise CannotStart(
                f"port {port} on {host} is already in use; choose another with --port (0: any free port)"
            ) from error
        raise CannotStart(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    # A wildcard address is one to listen on, not one to connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound to here
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _wait_or_kill(child: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        child.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _signal_session(leader: int, number: int) -> bool:
    """Signal all processes of a child's session; return False if none exist.

    Signal 0 only checks.
    """
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):  # macOS: permission denied if all have ended
        return False
    return True


def _how(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"


def make_folder(output: Path) -> None:
    """Create the output folder of a command if missing. Raises CostCurveError."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CostCurveError(f"cannot create the folder {output}: {error.strerror}") from error


def home_in(output: Path) -> Path:
    """Return the folder of the database: COSTCURVE_HOME, otherwise `home` in `output`."""
    return home_folder() if os.environ.get("COSTCURVE_HOME") else (output / "home").absolute()


def own_service(output: Path, log: Path, workers: int) -> LocalService:
    """Return a service and workers at a free port, not yet started.

    Raises:
        CannotStart: a program or library is missing.
    """
    return LocalService(home=home_in(output), port=0, workers=workers, log=log, own_database=True)


def how_to_see_the_jobs(output: Path) -> str:
    """Return the commands with which the user sees the jobs again."""
    home = home_in(output)
    shown = output / "home" if home == (output / "home").absolute() else home
    return f"to see the jobs again: COSTCURVE_HOME={shown} costcurve up, then costcurve list"
