"""A real Ray cluster on this host, node by node, and fleets on it. Nothing here imports Ray."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from tests.helpers import reaper
from tests.helpers.processes import free_port, until

TOKEN = "9f1c7b52e1d84b6c9a3e0d5f72b8c641"  # noqa: S105 - of clusters that live as long as a test
# Carried by every process of a node, and inherited by whatever Ray starts there.
_MARK = "NODE_UNDER_TEST"
_OBJECT_STORE_BYTES = 80_000_000


class Cluster:
    """Nodes of one Ray cluster, all on this host. Use as a context manager: leaving it kills whatever is left."""

    def __init__(
        self, folder: Path, *, token: str | None = TOKEN, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._id = uuid4().hex
        self._token = token
        self._environment = environment or {}
        self._port = free_port()
        # Not a test's own folder: the sockets in there must have short names.
        self._temporary = tempfile.mkdtemp(prefix="ray-", dir=os.environ.get(reaper.MARK))
        self._children: list[subprocess.Popen] = []

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill("")
        for child in self._children:
            child.wait()
        shutil.rmtree(self._temporary, ignore_errors=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start_head(self, *, cpus: int) -> None:
        """Start the head; again and again, as a service manager would.

        Ray refuses while it finds a node of an earlier head on this host.
        """
        place = ["--head", "--port", str(self._port), "--temp-dir", self._temporary, "--include-dashboard=false"]
        until(lambda: self._start_node("head", *place, cpus=cpus), bool, timeout=120)

    def start_node(self, name: str, *, cpus: int) -> None:
        """Have another node join; again, if one of another cluster has just taken a port that this one had chosen."""
        until(lambda: self._start_node(name, "--address", self.address, cpus=cpus), bool, timeout=120)

    def _start_node(self, name: str, *arguments: str, cpus: int) -> bool:
        """Start a node, and wait until it is there: two that start at once on one host choose the same sockets."""
        ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", *arguments]
        size = ["--num-cpus", str(cpus), "--object-store-memory", str(_OBJECT_STORE_BYTES)]
        log = self._folder / f"{name}.log"
        said = log.stat().st_size if log.exists() else 0
        node = self._start(name, [*ray, *size], PYTHONUNBUFFERED="1")
        until(lambda: node.poll() is not None or "Ray runtime started" in log.read_text()[said:], bool, timeout=120)
        return node.poll() is None

    def start_fleet(self, database_url: str, *options: str, **environment: str | None) -> subprocess.Popen:
        """`costcurve work --ray` as a process of its own."""
        settings = {"COSTCURVE_HOME": str(self._folder), "COSTCURVE_DATABASE_URL": database_url}
        command = [sys.executable, "-m", "costcurve", "work", "--ray", self.address, *options]
        return self._start("fleet", command, **settings, **environment)

    def log(self, name: str = "fleet") -> str:
        """What a fleet, or a node, has said."""
        return (self._folder / f"{name}.log").read_text()

    def pids(self, name: str) -> list[int]:
        """Every process of a node, and whatever was started from there; of all of them for an empty name."""
        mark = f"{_MARK}={self._id}/{name}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if any(each == mark or (not name and each.startswith(mark)) for each in variables):
                    found.append(int(folder.name))
        return found

    def kill(self, name: str) -> None:
        """What the loss of a machine is: all that runs there ends at once, and nothing is told before."""

        def killed() -> list[int]:
            found = self.pids(name)
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return found

        until(killed, lambda found: not found)

    def _start(self, name: str, command: list[str], **environment: str | None) -> subprocess.Popen:
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("COSTCURVE_", "RAY_"))}
        if "COSTCURVE_DATA_DIR" in os.environ:
            ours["COSTCURVE_DATA_DIR"] = os.environ["COSTCURVE_DATA_DIR"]
        token = {} if self._token is None else {"RAY_AUTH_TOKEN": self._token}
        said = {
            "RAY_AUTH_MODE": "disabled" if self._token is None else "token",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
            _MARK: f"{self._id}/{name}",
        }
        all_of_it = {**ours, **token, **said, **self._environment, **environment}
        with (self._folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                env={key: value for key, value in all_of_it.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children.append(child)
        return child
