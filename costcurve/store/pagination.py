"""Lists of jobs, sweeps and cells: filters, orders and opaque cursors.

A cursor encodes the sort key of the last item of a page.
"""

import base64
import binascii
import json
import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from sqlalchemy import ColumnElement, Row, Select, func, select, tuple_

from costcurve.analysis.sweep_ranking import Cell, Ranking, RankKey
from costcurve.core.errors import InvalidRequest
from costcurve.core.job import Job
from costcurve.core.status import JobStatus
from costcurve.core.sweep import Sweep
from costcurve.core.validation import FieldError
from costcurve.store.cursor_numbers import hidden, revealed
from costcurve.store.row_mapping import sweep_rows
from costcurve.store.schema import job_tags, jobs, sweeps

Order = Literal["created_at", "-created_at", "-best_accuracy"]
CellOrder = Literal["rank", "cell"]
_HIDDEN = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class JobQuery:
    """Filters, order, limit and cursor of a list of jobs.

    `status`, `experiment` and `loss` each match any of their values, or every job if empty. All `tags` must match.
    """

    status: tuple[JobStatus, ...] = ()
    experiment: tuple[str, ...] = ()
    loss: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    sweep_id: str | None = None
    order: Order = "-created_at"
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs; `next_cursor` is None on the last page."""

    items: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class SweepPage:
    """One page of sweeps; `next_cursor` is None on the last page."""

    items: tuple[Sweep, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CellQuery:
    """Selection, order, limit and cursor of a list of cells.

    `cells` selects all cells if it is None. A `limit` of 0 returns no cells.
    """

    cells: frozenset[int] | None = None
    order: CellOrder = "rank"
    limit: int = 50
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class CellPage:
    """One page of a sweep's cells and the ranking of all cells.

    `next_cursor` is None on the last page.
    """

    sweep: Sweep
    ranking: Ranking
    items: tuple[Cell, ...]
    next_cursor: str | None


def select_jobs(query: JobQuery, own: ColumnElement[bool], secret: bytes, *, settled: int | None = None) -> Select[Any]:
    """Return a query for the jobs of one page, plus one row.

    The extra row shows that another page follows.

    Args:
        query: the client's filters, order, limit and cursor.
        own: the condition that a job belongs to the caller's project.
        secret: the project's secret, which hides the numbers in cursors.
        settled: the largest `pk` to list, None for no bound. Larger numbers may still appear out of order.

    Raises:
        InvalidRequest: the cursor is not from a page of this order.
    """
    found = select(jobs).where(own)
    for column, values in (
        (jobs.c.status, query.status),
        (jobs.c.experiment, query.experiment),
        (jobs.c.loss, query.loss),
    ):
        if values:
            found = found.where(column.in_(values))
    if query.sweep_id is not None:
        found = found.where(jobs.c.sweep_id == query.sweep_id)
    for key, value in query.tags:
        tagged = select(job_tags.c.job_pk).where(job_tags.c.key == key, job_tags.c.value == value)
        found = found.where(jobs.c.pk.in_(tagged))
    keys = _keys(query.order)
    descending = query.order.startswith("-")
    if query.cursor is not None:
        place = tuple_(*_decoded(query.cursor, query.order, secret))
        found = found.where(tuple_(*keys) < place if descending else tuple_(*keys) > place)
    if settled is not None:
        found = found.where(jobs.c.pk <= settled)
    return found.order_by(*(key.desc() if descending else key.asc() for key in keys)).limit(query.limit + 1)


def cursor_behind(row: Row[Any], order: Order, secret: bytes) -> str:
    """Return the cursor of the page that starts after this row."""
    return _encoded([order, row.best_accuracy if row.best_accuracy is not None else -1.0, hidden(row.pk, secret)])


def select_sweeps(own: ColumnElement[bool], secret: bytes, limit: int, cursor: str | None) -> Select[Any]:
    """Return a query for `limit` sweeps that meet the condition `own`, newest first, plus one row.

    The extra row shows that another page follows.

    Raises:
        InvalidRequest: the cursor is not from a page of sweeps.
    """
    found = sweep_rows.where(own).order_by(sweeps.c.pk.desc()).limit(limit + 1)
    if cursor is None:
        return found
    match _parsed(cursor):
        case ["sweeps", text] if (pk := _revealed(text, secret)) is not None:
            return found.where(sweeps.c.pk < pk)
    raise _bad_cursor("is not a cursor from a page of sweeps")


def sweep_cursor_behind(row: Row[Any], secret: bytes) -> str:
    """Return the cursor of the page that starts after this sweep."""
    return _encoded(["sweeps", hidden(row.pk, secret)])


def page_of_cells(keys: Sequence[RankKey], query: CellQuery) -> tuple[Sequence[int], str | None]:
    """Return the cell numbers of one page and the next page's cursor.

    Args:
        keys: the rank keys of the cells to list.
        query: order, limit and cursor.

    Raises:
        InvalidRequest: the cursor is not from a page of cells in this order.
    """

    def place(key: RankKey) -> RankKey | int:
        return key if query.order == "rank" else key[-1]

    keys = sorted(keys, key=place)
    first = 0
    if query.cursor is not None:
        first = bisect_right(keys, place(_cell_key(query.cursor, query.order)), key=place)
    page = keys[first : first + query.limit]
    more = first + len(page) < len(keys)
    return [key[-1] for key in page], _encoded(["cells", query.order, *page[-1]]) if more else None


def _cell_key(cursor: str, order: CellOrder) -> RankKey:
    match _parsed(cursor):
        case ["cells", str() as made_for, bool() as unranked, float() as mean, count, cell] if (
            made_for == order and math.isfinite(mean) and _is_count(count) and _is_count(cell)
        ):
            return (unranked, mean, count, cell)
    raise _bad_cursor("is not a cursor from a page of cells in this order")


def _keys(order: Order) -> tuple[ColumnElement[Any], ...]:
    # Jobs without an accuracy come last. The order by pk is that by created_at, except for simultaneous submissions.
    return (func.coalesce(jobs.c.best_accuracy, -1.0), jobs.c.pk) if order == "-best_accuracy" else (jobs.c.pk,)


def _decoded(cursor: str, order: Order, secret: bytes) -> tuple[Any, ...]:
    match _parsed(cursor):
        case [str() as made_for, float() as accuracy, text] if (
            made_for == order and -1 <= accuracy <= 1 and (pk := _revealed(text, secret)) is not None
        ):
            return (accuracy, pk) if order == "-best_accuracy" else (pk,)
    raise _bad_cursor("is not a cursor from a page in this order")


def _revealed(text: object, secret: bytes) -> int | None:
    """Return the row's number in a cursor; None if it is not from a page of this project."""
    return revealed(text, secret) if isinstance(text, str) and _HIDDEN.fullmatch(text) else None


def _is_count(value: object) -> TypeGuard[int]:
    # JSON's true is an int in Python, but no number in PostgreSQL.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _bad_cursor(message: str) -> InvalidRequest:
    return InvalidRequest(f"the cursor {message}", errors=[FieldError("/query/cursor", message)])


def _encoded(key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _parsed(cursor: str) -> object:
    try:
        parsed: object = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):  # ValueError: not ASCII, not UTF-8 or not JSON
        return None
    return parsed
