"""The base of all parts of the store: database and lease clock."""

from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from datetime import UTC, datetime
from typing import Self

from sqlalchemy import ColumnElement, Connection, Table, func, select

from costcurve.core.access import LOCAL, Caller, ProjectLimits
from costcurve.core.errors import JobNotFound
from costcurve.store.database import Database
from costcurve.store.schema import projects
from costcurve.store.transitions import EventInfo


def strip_nul(text: str) -> str:
    """Replace NUL characters, so that PostgreSQL accepts the text in a query.

    PostgreSQL refuses the character 0, and no text in the database contains it.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def ensure_found(job_ids: Iterable[str], found: Container[str]) -> None:
    """Raise JobNotFound, with the first missing id, unless all are found."""
    for job_id in job_ids:
        if job_id not in found:
            raise JobNotFound(f"there is no job {job_id!a}")


def clock_of(tx: Connection) -> datetime:
    """Return the current time of the database's clock, which all processes share."""
    if tx.dialect.name == "postgresql":
        moment: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
        return moment
    return datetime.now(UTC)  # SQLite runs inside this process


class OnDatabase:
    """Base class for the parts of the store: transactions on one database."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime] | None = None,
        caller: Caller = LOCAL,
        limits: ProjectLimits | None = None,
    ) -> None:
        """Use this database and clock, for this caller.

        By default the clock is the database's own, which is the same for all processes. `limits` are those of projects
        that have none of their own; None for no limits.
        """
        self._database = database
        self._clock = clock
        self._caller = caller
        self._default_limits = limits or ProjectLimits()
        # The transaction in which this store reads; None for one transaction for each method.
        self._tx: Connection | None = None

    def for_caller(self, caller: Caller) -> Self:
        """Return this store for another caller: its methods for clients see that caller's project only."""
        bound = copy(self)
        bound._caller = caller  # noqa: SLF001 - our own class
        return bound

    @contextmanager
    def read_transaction(self) -> Iterator[Self]:
        """Yield this store with all its reads in one transaction, so that they see one state.

        Read little in it, and compute after it: on SQLite it can keep writers waiting. After it, the yielded store
        reads in a transaction for each method again. Writes and `list` always have transactions of their own.
        """
        with self._database.read() as tx:
            seen = copy(self)
            seen._tx = tx  # noqa: SLF001 - our own class
            try:
                yield seen
            finally:
                seen._tx = None  # noqa: SLF001

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        """Yield the transaction of `read_transaction`, or a new one outside of it."""
        if self._tx is not None:
            yield self._tx
            return
        with self._database.read() as tx:
            yield tx

    def _now(self, tx: Connection) -> datetime:
        return self._clock() if self._clock is not None else clock_of(tx)

    def _is_own(self, table: Table) -> ColumnElement[bool]:
        """Return the condition that a row of `jobs` or `sweeps` belongs to the caller's project.

        Every query of a method for clients has it. What belongs to another project is as if it did not exist.
        """
        return table.c.project_pk == self._caller.project_pk

    def _cursor_secret(self, tx: Connection) -> bytes:
        """Return the secret that hides the numbers in the cursors of the caller's project."""
        found = select(projects.c.cursor_secret).where(projects.c.pk == self._caller.project_pk)
        return bytes.fromhex(tx.execute(found).scalar_one())

    def _by_client(self, tx: Connection, why: str) -> EventInfo:
        return EventInfo(self._caller.key_name, self._now(tx), why)
