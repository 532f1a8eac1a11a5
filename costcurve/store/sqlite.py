"""SQLite engines with which several processes can share one file safely."""

import logging
import sqlite3
from pathlib import Path
from time import monotonic, sleep
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url

from costcurve.core.errors import StoreUnavailable
from costcurve.runtime.private_files import keep_from_others, make_private_file, make_private_folder
from costcurve.store.permanent_errors import is_permanent

log = logging.getLogger(__name__)

# Seconds that a transaction waits for another process's. Every transaction of ours takes milliseconds.
LOCK_TIMEOUT_SECONDS = 20.0


def open_sqlite(url: str, *, lock_timeout: float, create: bool) -> Engine:
    """Return an engine whose transactions wait `lock_timeout` seconds for a lock.

    Transactions with the execution option `writes` are IMMEDIATE; `migrates` turns foreign keys off. With `create`,
    a missing file is created, readable only by its owner; otherwise the file must exist.

    Raises:
        StoreUnavailable: the file or its folder cannot be opened or created.
    """
    module = _newest_sqlite()
    file = Path(make_url(url).database or "")
    if create:
        _make(file)
    elif not file.is_file():
        raise StoreUnavailable(f"there is no database {file}; a service or a worker creates it when it starts")
    engine = create_engine(url, module=module, connect_args={"timeout": lock_timeout})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # `_begin` begins transactions: the driver would begin them late and never as IMMEDIATE.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        # Otherwise migrations could not recreate a table while a view reads it.
        connection.execute("PRAGMA legacy_alter_table = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("migrates"):
            # SQLite alters a table by recreating it, and dropping the old one would delete all rows that refer to it.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")

    if not create:
        return engine
    mode = "WAL" if _wal_is_safe(module.sqlite_version_info) else "DELETE"
    with engine.connect() as connection:
        try:
            # On the driver's own connection: the journal mode cannot change inside a transaction.
            _set_journal_mode(connection.connection.cursor(), mode, locked=module.OperationalError)
        except module.DatabaseError as error:
            raise StoreUnavailable(f"the database refused: {error}", permanent=is_permanent(error)) from error
    for suffix in ("", "-wal", "-shm", "-journal"):
        keep_from_others(file.with_name(file.name + suffix))
    log.debug("sqlite %s, journal mode %s", module.sqlite_version, mode)
    return engine


def _make(file: Path) -> None:
    """Create the database's file and folder if they are missing.

    SQLite gives its other files the mode of this one.
    """
    try:
        make_private_folder(file.parent)
    except OSError as error:
        text = f"the folder of the database, {file.parent}, cannot be created: {error}"
        raise StoreUnavailable(text, permanent=is_permanent(error)) from error
    try:
        make_private_file(file)
    except OSError as error:
        text = f"the database {file} cannot be created: {error.strerror}"
        raise StoreUnavailable(text, permanent=is_permanent(error)) from error


def _set_journal_mode(cursor: Any, mode: str, *, locked: type[Exception]) -> None:
    """Set the journal mode; retry for 20 s while it is locked.

    Of several processes that open a new database at once, all except one find it locked, and SQLite does not wait.
    """
    deadline = monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        try:
            found = cursor.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0].upper()
        except locked as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
            sleep(0.01)
        else:
            if found != mode:
                log.warning(
                    "the database keeps its journal mode %s, because its file system does not support %s", found, mode
                )
            return


def _newest_sqlite() -> ModuleType:
    """Return `pysqlite3` or Python's own module, whichever has the newer SQLite.

    The `pysqlite3` wheel brings a current SQLite, but does not install everywhere.
    """
    try:
        import pysqlite3
    except ImportError:
        return sqlite3
    module: ModuleType = pysqlite3
    return module if module.sqlite_version_info > sqlite3.sqlite_version_info else sqlite3


def _wal_is_safe(version: tuple[int, int, int]) -> bool:
    """Return True if this SQLite is free of the WAL-reset bug.

    The bug can corrupt a database with two writing processes.

    Source: https://sqlite.org/wal.html#walresetbug (fixed in 3.51.3, and backported to 3.50.7 and 3.44.6).
    """
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
