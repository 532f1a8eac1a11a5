"""The database behind the store, SQLite or PostgreSQL: how it is opened, its transactions, its migrations."""

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

# Any number will do, as long as nothing else on the server locks the same one.
_MIGRATION_LOCK = 0x_C057_C07E
# Seconds after which PostgreSQL ends a transaction in which nothing happens. A program that froze in the middle of one,
# or whose host was lost, would otherwise keep its locks, and nobody could take over its jobs. Shorter than a lease.
_IDLE_SECONDS = 5.0
# A migration waits this long for each table: less than PostgreSQL's deadlock_timeout, 1 s, so that it gives way.
_LOCK_MILLISECONDS = 200
# Seconds after which PostgreSQL ends a statement. All of ours take far less; one that goes on for longer holds a
# connection, and a thread, that others need.
_STATEMENT_SECONDS = 60.0


# Writes to the disk and changes nothing. On PostgreSQL it does not wait for a migration in progress.
_WRITE = {
    "sqlite": "UPDATE alembic_version SET version_num = version_num",
    "postgresql": "UPDATE alembic_version SET version_num = version_num WHERE version_num IN "
    "(SELECT version_num FROM alembic_version FOR UPDATE SKIP LOCKED)",
}


class Database:
    """Connections and transactions. Readers see one consistent state; what writers do is all or nothing."""

    def __init__(self, url: str, *, lock_timeout: float = LOCK_TIMEOUT_SECONDS, migrates: bool = True) -> None:
        """Open the database, make an SQLite file that is missing, and bring its schema up to date.

        Args:
            url: an SQLite file, or a PostgreSQL database.
            lock_timeout: seconds to wait for a lock, or for a connection, before it counts as unavailable.
            migrates: False to change nothing: the database must be there and up to date.

        Raises:
            StoreUnavailable: it cannot be opened, read or written.
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
        # What was brought up to date when it was opened, the oldest first.
        self.applied: tuple[str, ...] = ()
        try:
            missing = self.missing_migrations()
            if missing and migrates:
                self.applied = self._migrate()
        except StoreUnavailable:
            self.close()
            raise
        if missing and not migrates:
            self.close()
            raise StoreUnavailable(f"the database lacks the migrations {', '.join(sorted(missing))}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and changes nothing."""
        self._ensure_file()
        with _unavailable_if_it_fails(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write; it commits as a whole, or not at all."""
        self._ensure_file()
        with _unavailable_if_it_fails(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def missing_migrations(self) -> list[str]:
        """Migrations of this version of the program that the database has not seen; empty when it is current.

        Empty, too, for a database that a newer version has migrated: migrations only ever add what an older program can
        do without, so that both versions may run while one replaces the other.
        """
        with self.read() as connection:
            return _missing(connection)

    def ensure_ready(self) -> None:
        """Raise StoreUnavailable unless the schema is current and a transaction that writes can be committed."""
        if missing := self.missing_migrations():
            lacks = f"the database lacks the migrations {', '.join(missing)}"
            raise StoreUnavailable(lacks, public=lacks)
        with self.write() as tx:
            tx.execute(text(_WRITE[tx.dialect.name]))

    def unknown_migrations(self) -> list[str]:
        """The newest migrations of the database, if this version of the program does not know them: a newer one did."""
        with self.read() as connection:
            return sorted(_seen(connection) - set(_known()))

    def _ensure_file(self) -> None:
        # Writes to an SQLite file that was deleted succeed, and are gone with the last process that has it open.
        if _identity(self._file) != self._identity:
            raise StoreUnavailable(
                f"the database file {self._file} was removed or replaced; restart to use what is there"
            )

    def _migrate(self) -> tuple[str, ...]:
        # One transaction around it all: of several processes that start at once, one migrates and the others wait.
        engine = self.engine.execution_options(writes=True, migrates=True)
        with _unavailable_if_it_fails(), engine.begin() as connection:
            connection.detach()  # its settings are its own, so it does not go back to the pool
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # a migration may take long
            missing = _missing(connection)  # another may have migrated while this one waited
            if missing and connection.dialect.name == "postgresql":
                _lock_tables(connection)
            config = _alembic_config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").all():
                raise StoreUnavailable("the migration would leave rows that refer to nothing; nothing was changed")
        return tuple(reversed(missing))


def _lock_tables(connection: Connection) -> None:
    """Lock all tables for a migration, or none: older programs that hold some of them and want others go first.

    Raises:
        OperationalError: for 20 s other transactions did not let go of them.
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
    """Return the migrations of this version of the program, the newest first; loading them takes some 20 ms."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions())


def _seen(connection: Connection) -> set[str]:
    """The newest migrations that the database has seen."""
    return set(MigrationContext.configure(connection).get_current_heads())


def _missing(connection: Connection) -> list[str]:
    known, seen = _known(), _seen(connection)
    if seen - set(known):
        return []
    return [*known[: min((known.index(revision) for revision in seen), default=len(known))]]


def _identity(file: Path | None) -> tuple[int, int] | None:
    """Which file this is, whatever its name; None if there is none."""
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
        # A connection may have been cut while it was idle, by a restart of the server: each is tried before it is used.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": max(2, round(lock_timeout)),  # libpq takes no less than 2
            # A server that vanished without a word is noticed within some ten seconds, not in the hours of TCP.
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
        # Plain, operational and interface errors are the database's trouble, and so are a missing permission, a bad
        # address and all that ends a connection; the others (integrity, …) are our own.
        plain = type(error) in (DatabaseError, OperationalError, InterfaceError) or error.connection_invalidated
        misconfigured = is_forbidden(error) or is_bad_address(error)
        if not plain and not misconfigured:
            raise
        # PostgreSQL's texts have several lines; a client gets one.
        text, permanent = " ".join(str(error.orig).split()), misconfigured or is_permanent(error.orig)
        raise StoreUnavailable(f"the database refused: {text}", permanent=permanent) from error
    except PoolTimeout as error:
        raise StoreUnavailable("the database has been busy for too long") from error
