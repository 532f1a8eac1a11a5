"""Job numbers (`pk`) in order of submission, and when they are settled.

PostgreSQL gives a number before the submission is committed: a job may become visible after others with larger numbers.
A client that pages through the numbers would miss it. So each submission holds a lock from before its first number to
its end, and a listing waits for the open ones: docs/decisions/0007-jobs-in-order-of-submission.md. SQLite has one
writer at a time, so that numbers are committed in order.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

# The first of an advisory lock's two keys; the second is the server process of the submission.
_SUBMISSION = 0x0C05_7C0B

_ANNOUNCE = text("SELECT pg_advisory_xact_lock(:submission, pg_backend_pid())")
_LAST = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM jobs_pk_seq")
_UNDER_WAY = text(
    "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = :submission AND objsubid = 2"
    " AND mode = 'ExclusiveLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_WAIT = text("SELECT pg_advisory_xact_lock_shared(:submission, CAST(:process AS integer))").bindparams(
    bindparam("submission", _SUBMISSION)
)


def announce(tx: Connection) -> None:
    """Announce to listings that this transaction will number jobs."""
    if tx.dialect.name == "postgresql":
        tx.execute(_ANNOUNCE, {"submission": _SUBMISSION})


def last_number(tx: Connection) -> int | None:
    """Return the largest job number given so far, committed or not.

    None on a database that commits the numbers in order.
    """
    return tx.execute(_LAST).scalar_one() if tx.dialect.name == "postgresql" else None


def under_way(tx: Connection) -> Sequence[int]:
    """Return the server processes whose submissions are not committed yet.

    It includes all submissions that were numbered before this call.
    """
    return tx.scalars(_UNDER_WAY, {"submission": _SUBMISSION}).all() if tx.dialect.name == "postgresql" else ()


def wait_for(tx: Connection, process: int) -> None:
    """Wait until the submission of this server process has ended.

    Call it in a transaction that does nothing else.
    """
    tx.execute(_WAIT, {"process": process})
