"""Curves in the database: stored in the runs of points in which they were reported, read by range."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from jobs.curves import Curve, decode, encode, metrics_of
from jobs.errors import UnknownMetric
from jobs.rows import spec_of
from jobs.tables import curve_runs
from jobs.validation import FieldError


@dataclass(frozen=True, slots=True)
class CurvePage:
    """A stretch of a job's curve, how many points the whole range has, and the x to ask for next."""

    curve: Curve
    total_points: int
    next_from: int


def read_curve(
    tx: Connection, row: Row[Any], *, metrics: tuple[str, ...] | None, first: int, last: int | None, limit: int
) -> CurvePage:
    """At most `limit` points of a job with first <= x <= last. Raises UnknownMetric."""
    known = metrics_of(spec_of(row))
    if unknown := [metric for metric in metrics or () if metric not in known]:
        message = f"{', '.join(unknown)} is not recorded; known: {', '.join(known)}"
        raise UnknownMetric(message, errors=[FieldError("/query/metrics", message)])
    recorded = tx.scalar(select(func.max(curve_runs.c.last_x)).where(curve_runs.c.job_pk == row.pk))
    final = min(last if last is not None else (1 << 31) - 1, recorded if recorded is not None else -1)
    end = min(final, first + limit - 1)
    runs = tx.execute(
        select(curve_runs)
        .where(curve_runs.c.job_pk == row.pk, curve_runs.c.last_x >= first, curve_runs.c.first_x <= end)
        .order_by(curve_runs.c.first_x)
    ).all()
    curve = Curve.joined(
        decode(run.data, start=run.first_x, metrics=run.metrics.split(",")).between(first, end) for run in runs
    )
    found = curve if len(curve) else Curve(first)
    return CurvePage(found.only(metrics or known), total_points=max(final + 1 - first, 0), next_from=found.end)


def write_run(tx: Connection, job_pk: int, curve: Curve) -> None:
    """Add points to a job's curve."""
    # A worker whose connection broke at the commit cannot know, and writes the same points once more.
    cut(tx, job_pk, first=curve.start)
    tx.execute(
        insert(curve_runs).values(
            job_pk=job_pk,
            first_x=curve.start,
            last_x=curve.end - 1,
            metrics=",".join(curve.series),
            data=encode(curve),
        )
    )


def cut(tx: Connection, job_pk: int, *, first: int) -> None:
    """Drop the runs of a job's curve that start at x = `first` or later."""
    tx.execute(delete(curve_runs).where(curve_runs.c.job_pk == job_pk, curve_runs.c.first_x >= first))
