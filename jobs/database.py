"""The database behind the store: how it is opened, its transactions, its migrations."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobs.errors import StoreUnavailable

log = logging.getLogger(__name__)

# How long a transaction waits for another process's. Every transaction of ours is over in milliseconds.
BUSY_TIMEOUT_SECONDS = 20


class Database:
    """Connections and transactions. Writers queue up (`BEGIN IMMEDIATE`); readers see one consistent state."""

    def __init__(self, url: str) -> None:
        """Open the database, create its folder when missing, and bring its schema up to date.

        Raises:
            StoreUnavailable: it cannot be opened, read or written.
        """
        self.engine = _open(url)
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        with _unavailable_if_it_fails(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it commits as a whole, or not at all."""
        engine = self.engine.execution_options(writes=True)
        with _unavailable_if_it_fails(), engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def missing_migrations(self) -> list[str]:
        """Migrations of this version of the program that the database has not seen; empty when it is current."""
        scripts = ScriptDirectory.from_config(_alembic_config())
        with self.read() as connection:
            current = MigrationContext.configure(connection).get_current_heads()
        return [script.revision for script in scripts.iterate_revisions("heads", current or "base")]

    def _migrate(self) -> None:
        # One write transaction around it all: of several processes that start, one migrates, the others wait.
        with self.write() as connection:
            config = _alembic_config()
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StoreUnavailable(f"the database is not one that this version can use: {error}") from error


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@contextmanager
def _unavailable_if_it_fails() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        # Its plain and its operational errors are the database's trouble; the others (integrity, …) are our own.
        if type(error) not in (DatabaseError, OperationalError):
            raise
        raise StoreUnavailable(f"the database refused: {error.orig}") from error
    except PoolTimeout as error:
        raise StoreUnavailable("the database has been busy for too long") from error


def _open(url: str) -> Engine:
    module = _newest_sqlite()
    folder = Path(make_url(url).database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"the folder of the database, {folder}, cannot be made: {error}") from error
    engine = create_engine(url, module=module, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Transactions are begun by us, below: the driver would begin them late and never as IMMEDIATE.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    mode = "WAL" if _wal_is_safe(module.sqlite_version_info) else "DELETE"
    with _unavailable_if_it_fails(), engine.connect() as connection:
        try:
            # On the driver's own connection: the journal mode cannot change inside a transaction.
            _set_journal_mode(connection.connection.cursor(), mode, locked=module.OperationalError)
        except module.DatabaseError as error:
            raise StoreUnavailable(f"the database refused: {error}") from error
    log.debug("sqlite %s, journal mode %s", module.sqlite_version, mode)
    return engine


def _set_journal_mode(cursor: Any, mode: str, *, locked: type[Exception]) -> None:
    """Of several processes that open a new database at once, all but one find it locked, and SQLite does not wait."""
    deadline = monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            if cursor.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0].upper() == mode:
                return
        except locked as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
        sleep(0.01)


def _newest_sqlite() -> ModuleType:
    """The `pysqlite3` wheel brings a current SQLite; where it does not install, Python's own serves."""
    try:
        import pysqlite3
    except ImportError:
        return sqlite3
    module: ModuleType = pysqlite3
    return module if module.sqlite_version_info > sqlite3.sqlite_version_info else sqlite3


def _wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the WAL-reset bug, which can corrupt a database with two writing processes.

    Source: https://sqlite.org/wal.html#walresetbug (fixed in 3.51.3, and backported to 3.50.7 and 3.44.6).
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
