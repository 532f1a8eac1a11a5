"""Curve chunks, read by range, and networks' figures before the first update."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, func, insert, select

from costcurve.core.curve import STEPS_A_POINT, Curve, Granularity, decode, encode, metrics_of
from costcurve.core.errors import UnknownMetric
from costcurve.core.spec import AnySpec, NeuronSpec
from costcurve.core.validation import FieldError
from costcurve.store.row_mapping import spec_of
from costcurve.store.schema import curve_runs, network_starts, step_runs

CHUNK_TABLES: Mapping[Granularity, Table] = {"epoch": curve_runs, "step": step_runs}
_BEYOND = 1 << 31  # greater than every x


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
    def values(self) -> int:
        """Number of values in the whole range, over the requested metrics."""
        return self.total_points * len(self.curve.series)

    @property
    def next_from(self) -> int:
        """The x after the last point; the page's start if it is empty."""
        return self.curve.end * self.stride


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
    return 1 if granularity == "epoch" or isinstance(spec, NeuronSpec) else STEPS_A_POINT


def read_curve(
    tx: Connection,
    row: Row[Any],
    granularity: Granularity,
    *,
    metrics: Sequence[str] | None,
    first: int,
    last: int | None,
    limit: int,
) -> CurvePage:
    """Return at most `limit` points with first <= x <= last. Raises UnknownMetric."""
    spec = spec_of(row)
    table = CHUNK_TABLES["epoch" if isinstance(spec, NeuronSpec) else granularity]
    known = _known_metrics(tx, row.pk, spec, granularity, table)
    ensure_known(metrics or (), known)
    stride = stride_of(spec, granularity)
    start = -(-first // stride)
    recorded = tx.scalar(select(func.max(table.c.last_x)).where(table.c.job_pk == row.pk))
    final = min(last // stride if last is not None else _BEYOND, recorded if recorded is not None else -1)
    end = min(final, start + limit - 1)
    wanted = metrics or known
    chunks = _chunks(tx, table, row.pk, start, end) if end >= start else ()
    points = Curve.joined(
        decode(chunk.data, start=chunk.start, metrics=chunk.metrics, first=start, last=end).only(wanted)
        for chunk in chunks
    )
    found = points if len(points) else Curve(start).only(wanted)
    return CurvePage(found, stride, total_points=max(final + 1 - start, 0), known=known)


def read_chunks(
    tx: Connection, row: Row[Any], granularity: Granularity, *, start: int, points: int
) -> list[StoredChunk]:
    """Return the curve's chunks that overlap a range of points, in order.

    The range has `points` points and begins with point number `start`.
    """
    table = CHUNK_TABLES["epoch" if isinstance(spec_of(row), NeuronSpec) else granularity]
    return list(_chunks(tx, table, row.pk, start, start + points - 1))


def _chunks(tx: Connection, table: Table, job_pk: int, start: int, end: int) -> Iterator[StoredChunk]:
    """Iterate over the chunks with any point from `start` to `end`."""
    found = tx.execute(
        select(table.c.first_x, table.c.metrics, table.c.data)
        .where(table.c.job_pk == job_pk, table.c.last_x >= start, table.c.first_x <= end)
        .order_by(table.c.first_x)
    )
    return (StoredChunk(chunk.first_x, tuple(chunk.metrics.split(",")), chunk.data) for chunk in found)


def ensure_known(metrics: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownMetric, with the list of known metrics, unless all are known."""
    if unknown := [metric for metric in metrics if metric not in known]:
        message = f"{', '.join(unknown)} is not recorded; known: {', '.join(known)}"
        raise UnknownMetric(message, errors=[FieldError("/query/metrics", message)])


def _known_metrics(
    tx: Connection, job_pk: int, spec: AnySpec, granularity: Granularity, table: Table
) -> tuple[str, ...]:
    """Return the metrics that the job has recorded, or will record.

    A job of an older version may have recorded fewer metrics than this version would.
    """
    documented = metrics_of(spec, granularity)
    sets = tx.scalars(select(table.c.metrics).where(table.c.job_pk == job_pk).distinct()).all()
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


def read_start(tx: Connection, job_pk: int) -> Start | None:
    """Return the figures before the first update; None if not recorded."""
    row = tx.execute(select(network_starts).where(network_starts.c.job_pk == job_pk)).one_or_none()
    if row is None:
        return None
    curve = decode(row.data, start=0, metrics=row.metrics.split(","))
    return {name: values[0] for name, values in curve.series.items()}
