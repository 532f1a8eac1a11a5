"""Numbers of jobs (`pk`), by which they are listed in the order of their submission: which of them are settled.

PostgreSQL gives a number before the submission is committed: a job may become visible after others with larger numbers.
Whoever walks up the numbers would pass it by. So each submission holds a lock from before its first number up to its
end, and a walk waits for those that are under way: docs/decisions/0007-jobs-in-order-of-submission.md. SQLite has one
writer at a time, so that numbers are committed in order.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

# Of PostgreSQL's advisory locks with two keys: this one, and the server process that works for the submission.
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
    """Let walks know that jobs are about to be numbered in this transaction."""
    if tx.dialect.name == "postgresql":
        tx.execute(_ANNOUNCE, {"submission": _SUBMISSION})


def last_number(tx: Connection) -> int | None:
    """Return the largest number that was given to a job so far; None where numbers are committed in order."""
    return tx.execute(_LAST).scalar_one() if tx.dialect.name == "postgresql" else None


def under_way(tx: Connection) -> Sequence[int]:
    """Return the server processes whose submissions are not committed yet; of those numbered before this call, all."""
    return tx.scalars(_UNDER_WAY, {"submission": _SUBMISSION}).all() if tx.dialect.name == "postgresql" else ()


def wait_for(tx: Connection, process: int) -> None:
    """Return when the submission of this server process has ended; in a transaction that does nothing else."""
    tx.execute(_WAIT, {"process": process})
