"""The queue: order of the jobs, packs, and each job's position.

Waiting raises a job's priority, so that no job starves. All jobs wait equally fast, so their order never changes while
they wait. It is given by a number that is fixed when a job is queued, and an index holds that order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    String,
    bindparam,
    func,
    literal,
    select,
    text,
    tuple_,
    union_all,
)

from costcurve.core.engines import engine_requests
from costcurve.core.placement import Device
from costcurve.core.spec import AnySpec, MnistSpec
from costcurve.core.status import JobStatus
from costcurve.store.schema import jobs

# A job with a priority higher by one comes before those submitted up to this many seconds earlier.
SECONDS_PER_PRIORITY = 60

_Text = str | ColumnElement[str]

# Jobs at the front of the queue among which a claim looks for a project without running jobs.
_LOOK_AHEAD = 16

# Literals, not bound parameters: only then does the planner see that the partial indexes apply.
_QUEUED = literal(JobStatus.QUEUED.value, literal_execute=True)
is_queued = jobs.c.status == _QUEUED
is_running = jobs.c.status == literal(JobStatus.RUNNING.value, literal_execute=True)
_takes_company = text("NOT solo")
_turn = (jobs.c.queue_rank, jobs.c.pk)
# True of every job; lets counts use ix_jobs_fair, which begins with these columns. An index on _turn alone would serve
# counts too, but PostgreSQL would also claim by it, and read all jobs queued for CUDA before the first for a CPU.
_any_request = jobs.c.requested_device.in_(get_args(Device)), jobs.c.requested_engine.in_(engine_requests())


def queue_rank(created_at: datetime, priority: int) -> float:
    """Return a job's sort key in seconds; the smallest is claimed first."""
    return created_at.timestamp() - SECONDS_PER_PRIORITY * priority


def pack_key(spec: AnySpec) -> str:
    """Return a key that is equal for jobs of the same shape.

    One engine may train jobs with equal keys together, in one pack.
    """
    if isinstance(spec, MnistSpec):
        return f"mnist/{'-'.join(map(str, spec.layers))}/{spec.batch_size}"
    return "neuron"


@dataclass(frozen=True, slots=True)
class Head:
    """The first queued job of a project with this request."""

    device: str
    engine: str
    project_pk: int


def next_in_line(tx: Connection, *, engines: Iterable[str], devices: Iterable[str]) -> list[Head]:
    """Return the first job of each project and request, in the order in which they are claimed.

    A project with fewer running jobs comes first, then the order of the queue decides. Nothing is locked. The cost does
    not depend on the number of queued jobs.
    """
    if tx.execute(select(jobs.c.pk).where(is_queued).limit(1)).one_or_none() is None:
        return []  # the most frequent case, for idle workers
    requests = [(device, engine) for device in devices for engine in engines]
    heads = _idle_heads(tx, requests)
    return [Head(*row) for row in tx.execute(_heads(len(requests)), _named(requests))] if heads is None else heads


def _idle_heads(tx: Connection, requests: Iterable[tuple[str, str]]) -> list[Head] | None:
    """Return the first jobs of projects without running jobs, if the first jobs of the queue show them.

    None if for one request they do not: then all projects must be looked at.
    """
    busy = set(tx.scalars(select(jobs.c.project_pk).where(is_running).distinct()))
    found = []
    for device, engine in requests:
        first = select(*_turn, jobs.c.project_pk).where(*_requested(device, engine)).order_by(*_turn).limit(_LOOK_AHEAD)
        rows = tx.execute(first).all()
        idle = [(*row, device, engine) for row in rows if row.project_pk not in busy]
        if rows and not idle:
            return None
        found += idle
    return list(dict.fromkeys(Head(device, engine, project) for _, _, project, device, engine in sorted(found)))


@cache
def _heads(number: int) -> Select[Any]:
    """Return the query for the first job of each project, for a number of requests whose names `_named` gives.

    It takes two look-ups in an index for each project with queued jobs.
    """
    parts = [select(*(bindparam(f"{name}_{i}", type_=String) for name in ("device", "engine"))) for i in range(number)]
    requests = union_all(*parts).subquery("requests").c
    device, engine = list(requests)

    def first_project(*after: ColumnElement[bool]) -> ColumnElement[int]:
        return select(func.min(jobs.c.project_pk)).where(*after).scalar_subquery()

    own = first_project(*_requested(device, engine)).label("project_pk")
    each = select(device.label("device"), engine.label("engine"), own).cte("waiting", recursive=True)
    beyond = *_requested(each.c.device, each.c.engine), jobs.c.project_pk > each.c.project_pk
    following = select(each.c.device, each.c.engine, first_project(*beyond))
    waiting = each.union_all(following.where(each.c.project_pk.is_not(None)))
    busy = (
        select(jobs.c.project_pk, func.count().label("jobs")).where(is_running).group_by(jobs.c.project_pk).cte("busy")
    )
    other = jobs.alias("other")
    theirs = *_requested(waiting.c.device, waiting.c.engine, other), other.c.project_pk == waiting.c.project_pk
    first = select(other.c.pk).where(*theirs).order_by(other.c.queue_rank, other.c.pk).limit(1)
    return (
        select(waiting.c.device, waiting.c.engine, waiting.c.project_pk)
        .join(jobs, jobs.c.pk == first.scalar_subquery())
        .outerjoin(busy, busy.c.project_pk == waiting.c.project_pk)
        .order_by(func.coalesce(busy.c.jobs, 0), *_turn)
    )


def _named(requests: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {
        name: value
        for i, (device, engine) in enumerate(requests)
        for name, value in ((f"device_{i}", device), (f"engine_{i}", engine))
    }


def count_queued(tx: Connection, device: str) -> int:
    """Return the number of queued jobs that request this device.

    "auto" is a request of its own.
    """
    counted = select(func.count()).select_from(jobs).where(is_queued, jobs.c.requested_device == device)
    return tx.execute(counted).scalar_one()


def count_of_project(tx: Connection, project_pk: int) -> int:
    """Return the number of queued jobs of a project."""
    return _count(tx, jobs.c.project_pk == project_pk)


def first_in_line(tx: Connection, device: str, engine: str) -> datetime | None:
    """Return the submission time of the first queued job with this request.

    None if no such job is queued.
    """
    first = select(jobs.c.created_at).where(*_requested(device, engine)).order_by(*_turn).limit(1)
    return tx.execute(first).scalar_one_or_none()


def lock_head(tx: Connection, head: Head) -> Row[Any] | None:
    """Lock and return the first queued job of a project with this request.

    Jobs that another transaction has locked are skipped.
    """
    own = *_requested(head.device, head.engine), jobs.c.project_pk == head.project_pk
    first = select(jobs).where(*own).order_by(*_turn).limit(1)
    return tx.execute(first.with_for_update(skip_locked=True)).one_or_none()


def lock_batch(tx: Connection, head: Row[Any], count: int) -> list[Row[Any]]:
    """Lock and return at most `count` jobs to train with this one.

    They have the same `pack_key` and requests. Jobs that another transaction has locked are skipped.
    """
    if head.solo or count < 1:
        return []
    company = (
        select(jobs)
        .where(
            is_queued,
            _takes_company,
            jobs.c.pack_key == head.pack_key,
            jobs.c.requested_device == head.requested_device,
            jobs.c.requested_engine == head.requested_engine,
            jobs.c.pk != head.pk,
        )
        .order_by(*_turn)
        .limit(count)
    )
    return list(tx.execute(company.with_for_update(skip_locked=True)).all())


def count_waiting(tx: Connection, devices: Iterable[str], *, limit: int) -> int:
    """Return the number of queued jobs for these devices, at most `limit`."""
    queued = select(jobs.c.pk).where(is_queued, jobs.c.requested_device.in_(tuple(devices))).limit(limit)
    return tx.execute(select(func.count()).select_from(queued.subquery())).scalar_one()


def positions(tx: Connection, rows: Iterable[Row[Any]]) -> Mapping[int, int]:
    """Return the position, from 1, of each queued job in the queue of its project, by pk.

    All rows belong to one project.
    """
    queued = sorted((row for row in rows if row.status == JobStatus.QUEUED), key=lambda row: (row.queue_rank, row.pk))
    found: dict[int, int] = {}
    if queued:
        own = jobs.c.project_pk == queued[0].project_pk
        found[queued[0].pk] = 1 + _count(tx, own, tuple_(*_turn) < (queued[0].queue_rank, queued[0].pk))
    for before, row in pairwise(queued):
        between = tuple_(*_turn) >= (before.queue_rank, before.pk), tuple_(*_turn) < (row.queue_rank, row.pk)
        found[row.pk] = found[before.pk] + _count(tx, own, *between)
    return found


def _requested(device: _Text, engine: _Text, table: FromClause = jobs) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a queued job with this request, in the table of jobs or an alias of it."""
    is_waiting = is_queued if table is jobs else table.c.status == _QUEUED
    return is_waiting, table.c.requested_device == device, table.c.requested_engine == engine


def _count(tx: Connection, *conditions: ColumnElement[bool]) -> int:
    counted = select(func.count()).select_from(jobs).where(is_queued, *_any_request, *conditions)
    return tx.execute(counted).scalar_one()
