"""Backup and restore: every row of a store in one SQLite file.

Both work with SQLite and PostgreSQL. A backup is itself a database that CostCurve opens, so a service can serve it for
inspection. A restore also moves a store from SQLite to PostgreSQL or back.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from errno import EOPNOTSUPP, EPERM
from pathlib import Path

from sqlalchemy import Connection, LargeBinary, Table, delete, func, insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError

from costcurve.core.access import DEFAULT_PROJECT_PK
from costcurve.runtime.files import flush_folder
from costcurve.store.base import clock_of
from costcurve.store.database import Database
from costcurve.store.maintenance import retire
from costcurve.store.schema import metadata, projects, workers
from costcurve.store.transitions import EventInfo

# Rows in memory at a time: fewer of those that hold models and curves.
_ROWS, _LARGE_ROWS = 500, 16
# Seconds after which PostgreSQL ends a backup that cannot write what it has read.
_IDLE_SECONDS = 60
_SQLITE_HEADER = b"SQLite format 3\0"


class BackupRefused(Exception):
    """A refused backup or restore; nothing was changed. The text says why."""


def back_up(database: Database, file: Path) -> dict[str, int]:
    """Write the store's state at this moment to a new file.

    Other processes continue to read and write. The file gets its name only once it is complete and on the disk.

    Returns:
        The number of rows of each table.

    Raises:
        BackupRefused: the file exists or cannot be written, or a newer version migrated the store and keeps data
            there that this one does not know.
        StoreUnavailable: the store could not be read to the end.
    """
    if file.exists():
        raise BackupRefused(f"{file} exists already; a backup never replaces a file")
    if unknown := database.unknown_migrations():
        raise BackupRefused(
            f"a newer version has migrated the database ({', '.join(unknown)}); back up with that version"
        )
    with _folder_next_to(file) as folder:
        copy = folder / "backup.db"
        with closing(Database(_url(copy))) as target, database.read() as source, target.write() as into:
            if source.dialect.name == "postgresql":
                source.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'"))
            counts = _copy_all(source, into)
        _publish(copy, file)
    return counts


def restore(file: Path, database: Database) -> dict[str, int]:
    """Copy a backup into a store without jobs, all or nothing.

    Jobs that ran under the backup's workers are requeued. Workers that serve the store already stay.

    Returns:
        The number of rows of each table.

    Raises:
        BackupRefused: the file is no backup or is of a newer version, or the store is not empty.
        StoreUnavailable: the store could not be written.
    """
    if unknown := database.unknown_migrations():
        raise BackupRefused(
            f"a newer version has migrated the database ({', '.join(unknown)}); restore with that version"
        )
    with _opened_copy(file) as backup, backup.read() as source, database.write() as into:
        if into.dialect.name == "postgresql":
            into.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        _ensure_empty(into)
        try:
            counts = _copy_all(source, into)
        except IntegrityError as error:
            raise BackupRefused(f"the backup conflicts with itself or with rows in the store: {error.orig}") from error
        if into.dialect.name == "postgresql":
            _advance_sequences(into)
        # In the same transaction: a service could otherwise reap them as crashed, since they send no heartbeats.
        cause = EventInfo("restore", clock_of(into), "it was restored from a backup")
        for worker_id in source.scalars(select(workers.c.id).where(workers.c.stopped_at.is_(None))):
            retire(into, worker_id, cause, crashed=False)
    return counts


def _copy_all(source: Connection, into: Connection) -> dict[str, int]:
    """Copy the rows of all tables; return their numbers by table."""
    into.execute(delete(projects))  # each new database has a project `default`, and so has the source
    return {table.name: _copy(table, source, into) for table in metadata.sorted_tables}


def _copy(table: Table, source: Connection, into: Connection) -> int:
    """Copy a table's rows in key order, in parts; return their number."""
    is_large = any(isinstance(column.type, LargeBinary) for column in table.columns)
    count = 0
    rows = source.execution_options(yield_per=_LARGE_ROWS if is_large else _ROWS).execute(
        select(table).order_by(*table.primary_key.columns)
    )
    for part in rows.mappings().partitions():
        into.execute(insert(table), [dict(row) for row in part])
        count += len(part)
    return count


def _ensure_empty(connection: Connection) -> None:
    # Workers may have registered first: their rows hold no jobs. Each new database has the project `default`.
    others = select(func.count()).select_from(projects).where(projects.c.pk != DEFAULT_PROJECT_PK)
    if connection.scalar(others):
        raise BackupRefused("the store is not empty: it has projects; restore into a new database")
    for table in metadata.sorted_tables:
        if table not in (workers, projects) and connection.scalar(select(func.count()).select_from(table)):
            raise BackupRefused(f"the store is not empty: it has {table.name}; restore into a new database")


def _advance_sequences(connection: Connection) -> None:
    """Set PostgreSQL's sequences to continue after the copied rows' numbers."""
    for table in metadata.sorted_tables:
        for column in table.primary_key.columns:
            sequence = connection.scalar(
                text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column.name}
            )
            last = connection.scalar(select(func.max(column))) if sequence is not None else None
            if last is not None:
                connection.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})


def _publish(copy: Path, file: Path) -> None:
    """Give a finished database its name, as one file on the disk.

    Either the whole file is there under its name, or nothing.
    """
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")  # a reader then needs no other files next to it
    with copy.open("rb") as written:
        os.fsync(written.fileno())
    try:
        os.link(copy, file)  # unlike a rename, it never replaces a file that another process has put there meanwhile
    except OSError as error:
        if error.errno not in {EPERM, EOPNOTSUPP}:
            raise BackupRefused(f"{file} cannot be written: {error.strerror}") from error
        copy.rename(file)  # a file system without links
    flush_folder(file.parent)


@contextmanager
def _folder_next_to(file: Path) -> Iterator[Path]:
    """Yield a temporary folder on the same file system; remove it afterwards."""
    try:
        folder = tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.parent)
    except OSError as error:
        raise BackupRefused(f"{file} cannot be written: {error.strerror}") from error
    with folder as name:
        yield Path(name)


@contextmanager
def _opened_copy(file: Path) -> Iterator[Database]:
    """Yield a migrated copy of the backup; never change the backup itself."""
    try:
        with file.open("rb") as opened:
            if opened.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:
                raise _no_backup(file, "it is not an SQLite database")
        with tempfile.TemporaryDirectory(prefix="costcurve-restore-") as folder:
            copy = Path(folder) / "backup.db"
            shutil.copyfile(file, copy)
            with closing(sqlite3.connect(copy)) as connection:
                if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
                    raise _no_backup(file, "it is damaged")
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "alembic_version" not in tables or "jobs" not in tables:
                raise _no_backup(file, "it has no tables of CostCurve")
            with closing(Database(_url(copy))) as backup:
                if unknown := backup.unknown_migrations():
                    raise BackupRefused(
                        f"{file} was made by a newer version (migrations {', '.join(unknown)}); "
                        "restore with that version"
                    )
                yield backup
    except OSError as error:
        raise BackupRefused(f"{file} cannot be read: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        raise _no_backup(file, f"it is damaged ({error})") from error


def _no_backup(file: Path, why: str) -> BackupRefused:
    return BackupRefused(f"{file} is not a backup of CostCurve: {why}")


def _url(file: Path) -> str:
    return URL.create("sqlite", database=str(file.absolute())).render_as_string(hide_password=False)
