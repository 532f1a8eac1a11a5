"""The store's database, SQLite or PostgreSQL: opening, transactions and migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import monotonic, sleep

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from costcurve.core.errors import StoreUnavailable
from costcurve.store.permanent_errors import is_bad_address, is_forbidden, is_permanent
from costcurve.store.schema import metadata
from costcurve.store.sqlite import LOCK_TIMEOUT_SECONDS, open_sqlite

# An arbitrary number; nothing else on the server may lock the same one.
_MIGRATION_LOCK = 0x_C057_C07E
# Seconds after which PostgreSQL ends an idle transaction. A process that froze in one, or whose host was lost, would
# otherwise keep its locks, and no worker could take over its jobs. Shorter than a lease.
_IDLE_SECONDS = 5.0
# Milliseconds to wait for each table: less than PostgreSQL's deadlock_timeout, 1 s, so that the migration gives way.
_LOCK_MILLISECONDS = 200
# Seconds after which PostgreSQL ends a statement. All of ours take far less; a longer one holds a connection and a
# thread that others need.
_STATEMENT_SECONDS = 60.0


# Writes to the disk but changes nothing. On PostgreSQL it does not wait for a running migration.
_WRITE = {
    "sqlite": "UPDATE alembic_version SET version_num = version_num",
    "postgresql": "UPDATE alembic_version SET version_num = version_num WHERE version_num IN "
    "(SELECT version_num FROM alembic_version FOR UPDATE SKIP LOCKED)",
}


class Database:
    """Connections and transactions: consistent reads, and writes that are all or nothing."""

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS, migrates: bool = True) -> None:
        """Open the database, create a missing SQLite file, and migrate the schema.

        Args:
            url: the URL of an SQLite file or a PostgreSQL database.
            lock_timeout: seconds to wait for a lock or a connection before the database counts as unavailable.
            migrates: False to change nothing: the database must exist and be up to date.

        Raises:
            StoreUnavailable: the database cannot be opened, read or written.
        """
        with _unavailable_if_it_fails():
            if _is_sqlite(url):
                self.engine = open_sqlite(url, lock_timeout=lock_timeout, create=migrates)
            else:
                self.engine = _open_postgresql(url, lock_timeout=lock_timeout)
        # Several statements of one reader must see the same state. SQLite's transactions always do.
        self._reading: Engine = self.engine
        if not _is_sqlite(url):
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._writing = self.engine.execution_options(writes=True)
        self._file = Path(make_url(url).database or "") if _is_sqlite(url) else None
        self._identity = _identity(self._file)
        # The migrations that were applied on opening, the oldest first.
        self.applied: tuple[str, ...] = ()
        try:
            missing = self.missing_migrations()
            if missing and migrates:
                self.applied = self._migrate()
        except StoreUnavailable as error:
            self.close()
            if isinstance(error.__cause__, DatabaseError) and is_forbidden(error.__cause__):
                raise _not_the_owner(error) from error
            raise
        if missing and not migrates:
            self.close()
            raise StoreUnavailable(f"the database lacks the migrations {', '.join(sorted(missing))}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a read-only transaction that sees one state of the database."""
        self._ensure_file()
        with _unavailable_if_it_fails(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a write transaction that commits completely or not at all."""
        self._ensure_file()
        with _unavailable_if_it_fails(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def missing_migrations(self) -> list[str]:
        """Return this version's migrations that the database lacks, newest first.

        The list is empty if the database is current, and if a newer version has migrated it: migrations only add things
        that an older version does not need, so that both versions may run during an upgrade.
        """
        with self.read() as connection:
            return _missing(connection)

    def ensure_ready(self) -> None:
        """Raise StoreUnavailable unless the schema is current and writes can commit."""
        if missing := self.missing_migrations():
            lacks = f"the database lacks the migrations {', '.join(missing)}"
            raise StoreUnavailable(lacks, public=lacks)
        with self.write() as tx:
            tx.execute(text(_WRITE[tx.dialect.name]))

    def unknown_migrations(self) -> list[str]:
        """Return the database's newest migrations that this version does not know.

        A newer version has applied them.
        """
        with self.read() as connection:
            return sorted(_seen(connection) - set(_known()))

    def _ensure_file(self) -> None:
        # Writes to a deleted SQLite file succeed, and are lost when the last process closes it.
        if _identity(self._file) != self._identity:
            raise StoreUnavailable(
                f"the database file {self._file} was removed or replaced; restart to use the current file"
            )

    def _migrate(self) -> tuple[str, ...]:
        # One transaction: of several processes that start at once, one migrates and the others wait.
        engine = self.engine.execution_options(writes=True, migrates=True)
        with _unavailable_if_it_fails(), engine.begin() as connection:
            connection.detach()  # its settings differ, so it must not return to the pool
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # a migration may take long
            missing = _missing(connection)  # another process may have migrated during the wait
            if missing and connection.dialect.name == "postgresql":
                _lock_tables(connection)
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                raise StoreUnavailable("the migration would leave rows with broken foreign keys; nothing was changed")
        return tuple(reversed(missing))


def _not_the_owner(error: StoreUnavailable) -> StoreUnavailable:
    """Return the error of a role that lacks permissions, with what to do about it."""
    return StoreUnavailable(
        f"{error.detail}; if the database must be migrated, run `python -m costcurve.store migrate` as the role that "
        "owns its tables",
        permanent=True,
    )


def _lock_tables(connection: Connection) -> None:
    """Lock all tables for a migration, or none until all are free.

    Older processes that hold one table and wait for another go first.

    Raises:
        OperationalError: other transactions kept the tables locked for 20 s.
    """
    names = sorted({*metadata.tables, "job_tags"} & set(inspect(connection).get_table_names()))
    lock, deadline = text(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE"), monotonic() + LOCK_TIMEOUT_SECONDS
    former = connection.scalar(text("SHOW lock_timeout"))
    while names:
        try:
            with connection.begin_nested():
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_MILLISECONDS}ms'"))
                connection.execute(lock)
                connection.execute(text("SELECT set_config('lock_timeout', :former, TRUE)"), {"former": former})
        except OperationalError:
            if monotonic() > deadline:
                raise
            sleep(_LOCK_MILLISECONDS / 1000)
        else:
            return


@cache
def _known() -> tuple[str, ...]:
    """Return the migrations that this version knows, newest first.

    Loading them takes about 20 ms.
    """
    return tuple(script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions())


def _seen(connection: Connection) -> set[str]:
    """Return the newest migrations that the database has applied."""
    return set(MigrationContext.configure(connection).get_current_heads())


def _missing(connection: Connection) -> list[str]:
    known, seen = _known(), _seen(connection)
    if seen - set(known):
        return []
    return [*known[: min((known.index(revision) for revision in seen), default=len(known))]]


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Return the file's device and inode; None if there is no file."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found is not None else None


def _is_sqlite(url: str) -> bool:
    return make_url(url).get_backend_name() == "sqlite"


def _open_postgresql(url: str, *, lock_timeout: float) -> Engine:
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        # A restart of the server cuts idle connections: each is tested before it is used.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, round(lock_timeout)),  # libpq takes no less than 2
            # A server that vanished silently is noticed within about 10 s, not after TCP's hours.
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,  # milliseconds
            "options": f"-c lock_timeout={round(lock_timeout * 1000)}"
            f" -c idle_in_transaction_session_timeout={round(_IDLE_SECONDS * 1000)}"
            f" -c statement_timeout={round(_STATEMENT_SECONDS * 1000)}",
        },
    )


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@contextmanager
def _unavailable_if_it_fails() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        # Plain, operational and interface errors come from the database, and so do a missing permission, a bad
        # address and all that ends a connection. The others (integrity, …) come from our own code.
        plain = type(error) in (DatabaseError, OperationalError, InterfaceError) or error.connection_invalidated
        misconfigured = is_forbidden(error) or is_bad_address(error)
        if not plain and not misconfigured:
            raise
        # PostgreSQL's texts have several lines; a client gets one.
        text, permanent = " ".join(str(error.orig).split()), misconfigured or is_permanent(error.orig)
        raise StoreUnavailable(f"the database refused: {text}", permanent=permanent) from error
    except PoolTimeout as error:
        raise StoreUnavailable("the database has been busy for too long") from error
