"""Curve chunks, read by range, and networks' figures before the first update."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Table, and_, bindparam, delete, func, insert, select

from costcurve.core.curve import STEPS_A_POINT, Curve, Granularity, decode, encode, metrics_of
from costcurve.core.errors import UnknownMetric
from costcurve.core.spec import AnySpec
from costcurve.core.validation import FieldError
from costcurve.store.base import ensure_found, strip_nul
from costcurve.store.row_mapping import spec_of
from costcurve.store.schema import curve_runs, jobs, network_starts, step_runs

CHUNK_TABLES: Mapping[Granularity, Table] = {"epoch": curve_runs, "step": step_runs}


@dataclass(frozen=True, slots=True)
class CurvePage:
    """One page of a job's curve, with points `stride` apart in x.

    Point number k of a curve is at x = k · stride; `curve.start` and `curve.end` are such numbers. `total_points` is
    the number of points in the whole range. `next_from` is the x at which the next page starts. `known` lists all
    metrics that the job records.
    """

    curve: Curve
    stride: int
    total_points: int
    known: tuple[str, ...]

    @property
    def x(self) -> range:
        """The x values of the page's points, in order."""
        return range(self.curve.start * self.stride, self.curve.end * self.stride, self.stride)

    @property
    def next_from(self) -> int:
        """The x after the last point; the page's start if it is empty."""
        return self.curve.end * self.stride


@dataclass(frozen=True, slots=True)
class CurveHead:
    """A job's curve without its points, which are `stride` apart in x.

    `known` lists all metrics that the job records, and `points` is the number of recorded points. `stored_by` is the
    granularity of the chunks: a neuron's steps are its epochs.
    """

    job_id: str
    spec: AnySpec
    stored_by: Granularity
    stride: int
    known: tuple[str, ...]
    points: int

    def span(self, first: int, last: int | None) -> range:
        """Return the numbers of the points with first <= x <= last."""
        start = -(-first // self.stride)
        end = self.points if last is None else min(last // self.stride + 1, self.points)
        return range(start, max(start, end))


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk of points as stored: metric by metric, little-endian float64."""

    start: int
    metrics: tuple[str, ...]
    data: bytes

    @property
    def end(self) -> int:
        """The number of the point after the last one."""
        return self.start + len(self.data) // 8 // len(self.metrics)


def stride_of(spec: AnySpec, granularity: Granularity) -> int:
    """Return the distance in x between two points of a curve.

    It is 1 by epochs and STEPS_A_POINT by steps. For a neuron it is always 1, since its epoch is one step.
    """
    return STEPS_A_POINT if granularity == "step" and spec.has_steps else 1


def read_heads(
    tx: Connection, own: ColumnElement[bool], job_ids: Sequence[str], granularity: Granularity
) -> list[CurveHead]:
    """Return the heads of these jobs' curves. Raises JobNotFound.

    It takes one statement for any number of jobs, and another one for the steps of neurons, which are their epochs. A
    job that does not meet the condition `own` does not exist, here and in the functions below.
    """
    rows = _heads(tx, own, job_ids, granularity)
    ensure_found(job_ids, rows)
    if granularity == "step" and (neurons := [job_id for job_id in rows if rows[job_id][0].experiment == "neuron"]):
        rows |= _heads(tx, own, neurons, "epoch")
    return [_head_of(rows[job_id], granularity) for job_id in job_ids]


def _heads(
    tx: Connection, own: ColumnElement[bool], job_ids: Sequence[str], granularity: Granularity
) -> dict[str, list[Row[Any]]]:
    """Return a row for each set of metrics that a job has recorded, or one row, by job id."""
    chunks, wanted = CHUNK_TABLES[granularity], and_(own, jobs.c.id.in_([strip_nul(job_id) for job_id in job_ids]))
    recorded = (
        select(chunks.c.job_pk, chunks.c.metrics, func.max(chunks.c.last_x).label("last_x"))
        .where(chunks.c.job_pk.in_(select(jobs.c.pk).where(wanted)))
        .group_by(chunks.c.job_pk, chunks.c.metrics)
        .subquery()
    )
    columns: list[ColumnElement[Any]] = [jobs.c.id, jobs.c.experiment, jobs.c.spec, *recorded.c["metrics", "last_x"]]
    found = select(*columns).outerjoin_from(jobs, recorded, recorded.c.job_pk == jobs.c.pk).where(wanted)
    rows: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in tx.execute(found):
        rows[row.id].append(row)
    return rows


def _head_of(rows: Sequence[Row[Any]], granularity: Granularity) -> CurveHead:
    spec = spec_of(rows[0])
    recorded = [row for row in rows if row.metrics is not None]
    return CurveHead(
        job_id=rows[0].id,
        spec=spec,
        stored_by=granularity if spec.has_steps else "epoch",
        stride=stride_of(spec, granularity),
        known=_known_metrics([row.metrics for row in recorded], metrics_of(spec, granularity)),
        points=1 + max((row.last_x for row in recorded), default=-1),
    )


def read_curve(
    tx: Connection,
    own: ColumnElement[bool],
    job_id: str,
    granularity: Granularity,
    *,
    metrics: Sequence[str] | None,
    first: int,
    last: int | None,
    limit: int,
) -> CurvePage:
    """Return at most `limit` points with first <= x <= last. Raises JobNotFound and UnknownMetric."""
    [head] = read_heads(tx, own, [job_id], granularity)
    ensure_known(metrics or (), head.known)
    span, wanted = head.span(first, last), metrics or head.known
    page = span[:limit]
    runs = read_chunks(tx, own, [head], start=page.start, end=page.stop)[0] if page else ()
    return CurvePage(decoded(runs, wanted, page), head.stride, total_points=len(span), known=head.known)


def read_chunks(
    tx: Connection, own: ColumnElement[bool], heads: Sequence[CurveHead], *, start: int, end: int
) -> list[list[StoredChunk]]:
    """Return each curve's chunks with any point from number `start` to before `end`.

    It takes one statement. The chunks of a curve are in order.

    Raises:
        JobNotFound: one of the jobs does not exist any more.
    """
    chunks = CHUNK_TABLES[heads[0].stored_by]
    inside = and_(chunks.c.job_pk == jobs.c.pk, chunks.c.last_x >= start, chunks.c.first_x < end)
    columns: list[Column[Any]] = [jobs.c.id, chunks.c.first_x, chunks.c.metrics, chunks.c.data]
    found: dict[str, list[StoredChunk]] = defaultdict(list)
    job_ids = [head.job_id for head in heads]
    for row in tx.execute(select(*columns).outerjoin_from(jobs, chunks, inside).where(own, jobs.c.id.in_(job_ids))):
        of_job = found[row.id]
        if row.data is not None:
            of_job.append(StoredChunk(row.first_x, tuple(row.metrics.split(",")), row.data))
    ensure_found(job_ids, found)
    # Sorted here: the database would copy the data to sort it.
    return [sorted(found[job_id], key=lambda chunk: chunk.start) for job_id in job_ids]


def decoded(chunks: Iterable[StoredChunk], metrics: Sequence[str], span: range) -> Curve:
    """Return the points with these numbers, as far as the consecutive chunks have them.

    A metric that was not recorded is NaN.
    """
    points = Curve.joined(
        decode(chunk.data, start=chunk.start, metrics=chunk.metrics, first=span.start, last=span.stop - 1).only(metrics)
        for chunk in chunks
    )
    return points if len(points) else Curve(span.start).only(metrics)


def ensure_known(metrics: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownMetric, with the list of known metrics, unless all are known."""
    if unknown := [metric for metric in metrics if metric not in known]:
        message = f"{', '.join(unknown)} is not recorded; known: {', '.join(known)}"
        raise UnknownMetric(message, errors=[FieldError("/query/metrics", message)])


def _known_metrics(sets: Sequence[str], documented: tuple[str, ...]) -> tuple[str, ...]:
    """Return the metrics that the job has recorded, or will record.

    A job of an older version may have recorded fewer metrics than the documented ones.
    """
    recorded = dict.fromkeys(name for metrics in sorted(sets) for name in metrics.split(","))
    inherited = [name for name in recorded if name not in documented]
    return (*(name for name in documented if name in recorded), *inherited) if recorded else documented


def chunk_of(job_pk: int, curve: Curve) -> dict[str, Any] | None:
    """Return the columns of a chunk; None if it has no points."""
    if not len(curve):
        return None
    metrics, data = ",".join(curve.series), encode(curve)
    return {"job_pk": job_pk, "first_x": curve.start, "last_x": curve.end - 1, "metrics": metrics, "data": data}


def write_chunks(tx: Connection, granularity: Granularity, chunks: Sequence[dict[str, Any]]) -> None:
    """Insert one chunk per job, replacing chunks from its first point on."""
    # A worker whose connection broke at the commit writes the same points again.
    cut(tx, granularity, {chunk["job_pk"]: chunk["first_x"] for chunk in chunks})
    if chunks:
        tx.execute(insert(CHUNK_TABLES[granularity]), chunks)


def cut(tx: Connection, granularity: Granularity, firsts: Mapping[int, int]) -> None:
    """Delete the chunks that start at given point numbers or later.

    Args:
        tx: the transaction.
        granularity: the kind of curve.
        firsts: the first point number to delete for each job, by pk.
    """
    if firsts:
        table = CHUNK_TABLES[granularity]
        later = table.c.job_pk == bindparam("cut_pk"), table.c.first_x >= bindparam("cut_x")
        tx.execute(delete(table).where(*later), [{"cut_pk": pk, "cut_x": first} for pk, first in firsts.items()])


Start = Mapping[str, float]


def start_columns(job_pk: int, start: Start) -> dict[str, Any]:
    """Return the columns of a network's figures before the first update."""
    curve = Curve()
    curve.append(start)
    return {"job_pk": job_pk, "metrics": ",".join(start), "data": encode(curve)}


def write_starts(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Store networks' figures before the first update, in place of earlier ones.

    A job that restarts from step 0 has the same figures again.
    """
    if rows:
        tx.execute(delete(network_starts).where(network_starts.c.job_pk.in_([row["job_pk"] for row in rows])))
        tx.execute(insert(network_starts), rows)


def read_starts(tx: Connection, own: ColumnElement[bool], job_ids: Sequence[str]) -> list[Start | None]:
    """Return each job's figures before the first update. Raises JobNotFound.

    None for a job that has recorded none.
    """
    columns: list[Column[Any]] = [jobs.c.id, network_starts.c.metrics, network_starts.c.data]
    wanted = and_(own, jobs.c.id.in_([strip_nul(job_id) for job_id in job_ids]))
    rows = {row.id: row for row in tx.execute(select(*columns).outerjoin_from(jobs, network_starts).where(wanted))}
    ensure_found(job_ids, rows)
    return [_start_of(rows[job_id]) for job_id in job_ids]


def _start_of(row: Row[Any]) -> Start | None:
    if row.data is None:
        return None
    curve = decode(row.data, start=0, metrics=row.metrics.split(","))
    return {name: values[0] for name, values in curve.series.items()}
