"""What all parts of the store stand on: the database, and the clock that leases go by."""

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from costcurve.store.database import Database
from costcurve.store.transitions import EventInfo

CLIENT = "client"


def strip_nul(text: str) -> str:
    """A text as it may be looked for: PostgreSQL refuses the character 0, which no text in a database has."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def clock_of(tx: Connection) -> datetime:
    """Return the present moment by the database's own clock, which is the same for all programs."""
    if tx.dialect.name == "postgresql":
        moment: datetime = tx.execute(select(func.clock_timestamp())).scalar_one()
        return moment
    return datetime.now(UTC)  # SQLite runs in this very process


class OnDatabase:
    """Transactions on one database."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] | None = None) -> None:
        """A store on this database; its clock, if none is given, is the database's own, the same for everybody."""
        self._database = database
        self._clock = clock

    def _now(self, tx: Connection) -> datetime:
        return self._clock() if self._clock is not None else clock_of(tx)

    def _by_client(self, tx: Connection, why: str) -> EventInfo:
        return EventInfo(CLIENT, self._now(tx), why)
