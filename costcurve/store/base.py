"""The base of all parts of the store: database and lease clock."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from costcurve.store.database import Database
from costcurve.store.transitions import EventInfo

CLIENT = "client"


def strip_nul(text: str) -> str:
    """Replace NUL characters, so that PostgreSQL accepts the text in a query.

    PostgreSQL refuses the character 0, and no text in the database contains it.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def clock_of(tx: Connection) -> datetime:
    """Return the current time of the database's clock, which all processes share."""
    if tx.dialect.name == "postgresql":
        moment: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
        return moment
    return datetime.now(UTC)  # SQLite runs inside this process


class OnDatabase:
    """Base class for the parts of the store: transactions on one database."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] | None = None) -> None:
        """Use this database and clock; by default the database's own clock.

        The database's clock is the same for all processes.
        """
        self._database = database
        self._clock = clock

    def _now(self, tx: Connection) -> datetime:
        return self._clock() if self._clock is not None else clock_of(tx)

    def _by_client(self, tx: Connection, why: str) -> EventInfo:
        return EventInfo(CLIENT, self._now(tx), why)
