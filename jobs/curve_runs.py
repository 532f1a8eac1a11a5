"""Curves in the database: stored in the runs of points in which they were reported, read by range."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select

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


def run_of(job_pk: int, curve: Curve) -> dict[str, Any]:
    """The columns of a run of points."""
    metrics, data = ",".join(curve.series), encode(curve)
    return {"job_pk": job_pk, "first_x": curve.start, "last_x": curve.end - 1, "metrics": metrics, "data": data}


def write_runs(tx: Connection, runs: Sequence[dict[str, Any]]) -> None:
    """Add points to some jobs' curves."""
    # A worker whose connection broke at the commit cannot know, and writes the same points once more.
    cut(tx, {run["job_pk"]: run["first_x"] for run in runs})
    if runs:
        tx.execute(insert(curve_runs), runs)


def cut(tx: Connection, firsts: Mapping[int, int]) -> None:
    """Drop the runs that start at x = `first` or later, of the curves of jobs given by their pk."""
    if firsts:
        later = curve_runs.c.job_pk == bindparam("cut_pk"), curve_runs.c.first_x >= bindparam("cut_x")
        tx.execute(delete(curve_runs).where(*later), [{"cut_pk": pk, "cut_x": first} for pk, first in firsts.items()])
