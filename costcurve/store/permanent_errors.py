"""Permanent database errors: a retry fails until a person changes something."""

import re
from errno import EACCES, EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, EPERM, EROFS

from sqlalchemy.exc import DBAPIError, ProgrammingError

# Wrong credentials, no such database, no such schema, no permission.
# Classes and codes of PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATES = ("28", "3D", "3F", "42501")
# A server that refuses a connection gives libpq only a text. Texts in other languages do not match and are retried.
_REFUSALS = re.compile(
    r"authentication failed|no password supplied|(database|role) \".*\" does not exist|not permitted to log in"
    r"|pg_hba\.conf|permission denied|not currently accepting connections|does not support SSL|certificate"
)
# Primary result codes of SQLite: PERM, READONLY, CORRUPT, CANTOPEN, NOTADB. https://www.sqlite.org/rescode.html
_RESULT_CODES = {3, 8, 11, 14, 26}
_ERRNOS = {EACCES, EEXIST, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, EPERM, EROFS}


def is_permanent(error: BaseException | None) -> bool:
    """Return True if a retry would fail in the same way.

    Examples are a wrong password and a missing permission.

    Args:
        error: an error of the database driver or of the operating system.
    """
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _RESULT_CODES
    state = getattr(error, "sqlstate", None)
    return state.startswith(_SQLSTATES) if state is not None else _REFUSALS.search(str(error)) is not None


def is_bad_address(error: DBAPIError) -> bool:
    """Return True if libpq rejects the URL, for instance an unknown parameter."""
    return isinstance(error, ProgrammingError) and error.statement is None


def is_forbidden(error: DBAPIError) -> bool:
    """Return True if the database's user lacks a permission."""
    return getattr(error.orig, "sqlstate", None) == "42501"
