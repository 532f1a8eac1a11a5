"""Curves in the database: chunks of points, read by range; and the figures of networks before their first update."""

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
_BEYOND = 1 << 31  # every x


@dataclass(frozen=True, slots=True)
class CurvePage:
    """A stretch of a job's curve, its points `stride` apart.

    Point number k of a curve is at x = k · stride; `curve.start` and `curve.end` are such numbers. `total_points` is
    how many points the whole range has, `next_from` the x to ask for next, `known` all metrics that the job records.
    """

    curve: Curve
    stride: int
    total_points: int
    known: tuple[str, ...]

    @property
    def x(self) -> range:
        """Where the points are."""
        return range(self.curve.start * self.stride, self.curve.end * self.stride, self.stride)

    @property
    def values(self) -> int:
        """Values of the whole range, of the metrics that were asked for."""
        return self.total_points * len(self.curve.series)

    @property
    def next_from(self) -> int:
        """The x behind the last point; where there is none, where it was looked for."""
        return self.curve.end * self.stride


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A run of points as it is stored: metric by metric, little-endian float64."""

    start: int
    metrics: tuple[str, ...]
    data: bytes

    @property
    def end(self) -> int:
        """The number of the point behind the last."""
        return self.start + len(self.data) // 8 // len(self.metrics)


def stride_of(spec: AnySpec, granularity: Granularity) -> int:
    """How far apart the points of such a curve are: by epochs 1, by steps STEPS_A_POINT; a neuron's epoch is a step."""
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
    """At most `limit` points of a job with first <= x <= last. Raises UnknownMetric."""
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
    runs = _chunks(tx, table, row.pk, start, end) if end >= start else ()
    points = Curve.joined(
        decode(run.data, start=run.start, metrics=run.metrics, first=start, last=end).only(wanted) for run in runs
    )
    found = points if len(points) else Curve(start).only(wanted)
    return CurvePage(found, stride, total_points=max(final + 1 - start, 0), known=known)


def read_chunks(
    tx: Connection, row: Row[Any], granularity: Granularity, *, start: int, points: int
) -> list[StoredChunk]:
    """The runs of a job's curve that hold point number `start` or begin in the `points` from there on, in order."""
    table = CHUNK_TABLES["epoch" if isinstance(spec_of(row), NeuronSpec) else granularity]
    return list(_chunks(tx, table, row.pk, start, start + points - 1))


def _chunks(tx: Connection, table: Table, job_pk: int, start: int, end: int) -> Iterator[StoredChunk]:
    """The runs with any point from `start` to `end`, one at a time."""
    found = tx.execute(
        select(table.c.first_x, table.c.metrics, table.c.data)
        .where(table.c.job_pk == job_pk, table.c.last_x >= start, table.c.first_x <= end)
        .order_by(table.c.first_x)
    )
    return (StoredChunk(run.first_x, tuple(run.metrics.split(",")), run.data) for run in found)


def ensure_known(metrics: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownMetric, naming those that are known, unless all of the metrics are."""
    if unknown := [metric for metric in metrics if metric not in known]:
        message = f"{', '.join(unknown)} is not recorded; known: {', '.join(known)}"
        raise UnknownMetric(message, errors=[FieldError("/query/metrics", message)])


def _known_metrics(
    tx: Connection, job_pk: int, spec: AnySpec, granularity: Granularity, table: Table
) -> tuple[str, ...]:
    """What the job has recorded, which may be less than a newer version of this program would; or what it is to."""
    documented = metrics_of(spec, granularity)
    sets = tx.scalars(select(table.c.metrics).where(table.c.job_pk == job_pk).distinct()).all()
    recorded = dict.fromkeys(name for metrics in sorted(sets) for name in metrics.split(","))
    inherited = [name for name in recorded if name not in documented]
    return (*(name for name in documented if name in recorded), *inherited) if recorded else documented


def chunk_of(job_pk: int, curve: Curve) -> dict[str, Any] | None:
    """The columns of a run of points; None if there are none."""
    if not len(curve):
        return None
    metrics, data = ",".join(curve.series), encode(curve)
    return {"job_pk": job_pk, "first_x": curve.start, "last_x": curve.end - 1, "metrics": metrics, "data": data}


def write_chunks(tx: Connection, granularity: Granularity, runs: Sequence[dict[str, Any]]) -> None:
    """Add points to some jobs' curves."""
    # A worker whose connection broke at the commit cannot know, and writes the same points once more.
    cut(tx, granularity, {run["job_pk"]: run["first_x"] for run in runs})
    if runs:
        tx.execute(insert(CHUNK_TABLES[granularity]), runs)


def cut(tx: Connection, granularity: Granularity, firsts: Mapping[int, int]) -> None:
    """Drop the runs that start at point number `first` or later, of the curves of jobs given by their pk."""
    if firsts:
        table = CHUNK_TABLES[granularity]
        later = table.c.job_pk == bindparam("cut_pk"), table.c.first_x >= bindparam("cut_x")
        tx.execute(delete(table).where(*later), [{"cut_pk": pk, "cut_x": first} for pk, first in firsts.items()])


Start = Mapping[str, float]


def start_columns(job_pk: int, start: Start) -> dict[str, Any]:
    """The columns of a start."""
    curve = Curve()
    curve.append(start)
    return {"job_pk": job_pk, "metrics": ",".join(start), "data": encode(curve)}


def write_starts(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep some jobs' starts; a job that begins anew starts as it did before."""
    if rows:
        tx.execute(delete(network_starts).where(network_starts.c.job_pk.in_([row["job_pk"] for row in rows])))
        tx.execute(insert(network_starts), rows)


def read_start(tx: Connection, job_pk: int) -> Start | None:
    """A job's start; None if it is not recorded."""
    row = tx.execute(select(network_starts).where(network_starts.c.job_pk == job_pk)).one_or_none()
    if row is None:
        return None
    curve = decode(row.data, start=0, metrics=row.metrics.split(","))
    return {name: values[0] for name, values in curve.series.items()}
