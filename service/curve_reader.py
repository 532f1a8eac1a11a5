"""Curves of one or more jobs: short ones read at once, long ones in pieces, so that memory stays bounded."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np

from costcurve.analysis.sampling import (
    Chunk,
    Numbers,
    Sample,
    Values,
    collect_all,
    min_points,
    sample_curves,
    values_at,
)
from costcurve.core.curve import Curve, Granularity
from costcurve.core.errors import InvalidRequest
from costcurve.core.spec import AnySpec
from costcurve.core.validation import FieldError
from costcurve.store import JobStore
from costcurve.store.curve_chunks import CurveHead, StoredChunk, decoded, ensure_known
from service.heavy_work import check_wanted

# Most points in one response. The next request starts at `next_from`.
MAX_POINTS = 100_000
# Most recorded values of a range that is read at once: 4 MiB, about as much as one batch of a long curve.
_VALUES_AT_ONCE = 1 << 19
# Values in one piece, of all jobs and metrics together: about a megabyte.
_PIECE_VALUES = 20_000
# Fewest points of a job in one batch that is read for sampling; a stored chunk is always read as a whole.
_BATCH_POINTS = 65_536
# Up to this number of points, values are read chunk by chunk.
_FEW_POINTS = 100


@dataclass(frozen=True, slots=True)
class CurveRange:
    """Points of one curve by their numbers, and the chunks that have them; None until these are read."""

    head: CurveHead
    span: range
    chunks: Sequence[StoredChunk] | None = None


class Reading:
    """A range of x over the curves of one or more jobs.

    It does not include points that the jobs record while it is read. Points are read when they are needed, in
    transactions of their own. `load` reads those of a short range before.
    """

    def __init__(
        self,
        store: JobStore,
        job_ids: Sequence[str],
        *,
        granularity: Granularity = "epoch",
        metrics: Sequence[str] | None = None,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        """Look up the metrics and the lengths of the jobs' curves.

        Args:
            store: holds the curves.
            job_ids: the jobs, all of one experiment.
            granularity: one point per epoch, or one per hundred steps.
            metrics: names of metrics; None or empty selects those that all of the jobs record.
            first: the first x.
            last: the last x, inclusive; None for the newest.

        Raises:
            JobNotFound: one of the jobs does not exist.
            UnknownMetric: none of the jobs records one of the metrics.
        """
        self._store = store
        heads = store.curve_heads(job_ids, granularity=granularity)
        self.curves = [CurveRange(head, head.span(first, last)) for head in heads]
        self.granularity = granularity
        self.metrics = _resolved(metrics, self.known)

    def part(self, places: Sequence[int], metrics: Sequence[str] | None) -> Self:
        """Return the reading of some of the jobs, given by their places, with these metrics.

        It reads nothing again. `metrics` are as in the constructor.

        Raises:
            UnknownMetric: none of these jobs records one of the metrics.
        """
        part = copy(self)
        part.curves = [self.curves[place] for place in places]
        part.metrics = _resolved(metrics, part.known)
        return part

    def load(self) -> None:
        """Read all points of the range now, in one statement, unless they are many.

        Raises:
            JobNotFound: one of the jobs was deleted in the meantime.
        """
        recorded = sum(len(curve.span) * len(curve.head.known) for curve in self.curves)
        if recorded <= _VALUES_AT_ONCE and any(curve.chunks is None for curve in self.curves):
            heads = [curve.head for curve in self.curves]
            found = self._store.curve_chunks(heads, start=self.start, end=max(self.ends))
            self.curves = [replace(curve, chunks=chunks) for curve, chunks in zip(self.curves, found, strict=True)]

    @property
    def specs(self) -> Sequence[AnySpec]:
        """The specs of the jobs."""
        return [curve.head.spec for curve in self.curves]

    @property
    def known(self) -> Sequence[tuple[str, ...]]:
        """Metrics that each job records, in the order of the jobs."""
        return [curve.head.known for curve in self.curves]

    @property
    def stride(self) -> int:
        """Distance in x between two neighbouring points."""
        return self.curves[0].head.stride

    @property
    def start(self) -> int:
        """Number of the range's first point; its x is `start` · `stride`."""
        return self.curves[0].span.start

    @property
    def ends(self) -> list[int]:
        """One past the number of each job's last point in the range."""
        return [curve.span.stop for curve in self.curves]

    @property
    def total_points(self) -> int:
        """Number of x in the range at which any job has a point."""
        return max(self.ends) - self.start

    @property
    def fewest_points(self) -> int:
        """Smallest `max_points` that holds all ends and the extremes of one bucket."""
        return min_points(curves=len(self.curves), metrics=len(self.metrics))

    def pieces(self) -> Iterator[list[Curve]]:
        """Yield the range in pieces: one curve per job, over the same points.

        A curve is empty if its job has no points there.
        """
        ends, start, end = self.ends, self.start, max(self.ends)
        size = max(1, _PIECE_VALUES // (len(self.curves) * max(len(self.metrics), 1)))
        while start < end:
            check_wanted()
            stop = min(end, start + size)
            read = [i for i in range(len(ends)) if start < ends[i]]
            runs = [Curve(start).only(self._recorded(i)) for i in range(len(ends))]
            for i, chunks in zip(read, self._chunks(read, start, stop), strict=True):
                upto = min(stop, ends[i])
                runs[i] = decoded(chunks, self._recorded(i), range(start, upto))
                ends[i] = ends[i] if runs[i].end == upto else runs[i].end  # the job has just been restarted
            yield runs
            start = stop

    def _recorded(self, i: int) -> Sequence[str]:
        """Return the requested metrics that this job records."""
        return [metric for metric in self.metrics if metric in self.curves[i].head.known]

    def _chunks(self, places: Sequence[int], start: int, stop: int) -> Sequence[Sequence[StoredChunk]]:
        """Return the chunks of some of the jobs that have any point from `start` to before `stop`."""
        loaded = [self.curves[i].chunks for i in places]
        if None in loaded:
            return self._store.curve_chunks([self.curves[i].head for i in places], start=start, end=stop)
        return [[chunk for chunk in chunks or () if chunk.start < stop and chunk.end > start] for chunks in loaded]

    def sample(self, max_points: int | None) -> Sample:
        """Return at most `max_points` points of the range, with ends and extremes.

        All points are returned if the range has no more, or if `max_points` is None.

        Raises:
            InvalidRequest: `max_points` is less than `fewest_points`.
        """
        if max_points is not None and max_points < self.fewest_points:
            message = (
                f"must be at least {self.fewest_points} for these jobs and metrics, and is {max_points}: two points "
                "for each job and metric, plus two for each job"
            )
            raise InvalidRequest(f"max_points {message}", errors=[FieldError("/query/max_points", message)])
        if max_points is None or self.total_points <= max_points:
            return collect_all(self.pieces(), self.metrics, curves=len(self.curves))
        readers = [partial(self._runs, i) for i in range(len(self.curves))]
        return sample_curves(readers, self.metrics, first=self.start, last=max(self.ends) - 1, points=max_points)

    def values_at(self, numbers: Numbers) -> list[dict[str, list[float | None]]]:
        """Return the values of each job at the points with these ascending numbers, by metric."""
        return [
            values_at(self._runs(place, numbers), self._recorded(place), numbers) for place in range(len(self.curves))
        ]

    def _runs(self, i: int, xs: Numbers | None) -> Iterator[Chunk]:
        """Yield one job's curve over the range in large chunks.

        If `xs` is given, stretches without any of these points are skipped.
        """
        start, end = self.start, self.ends[i]
        metrics = self._recorded(i)
        points = _BATCH_POINTS if xs is None or len(xs) > _FEW_POINTS else 1
        while start < end:
            if xs is not None:
                following = xs[np.searchsorted(xs, start) :]
                if not len(following) or following[0] >= end:
                    return
                start = int(following[0])
            check_wanted()
            [batch] = self._chunks([i], start, start + points)
            if not batch:  # the job has just been restarted
                return
            stop = min(batch[-1].end, end)
            columns = [_columns(run, start, stop) for run in batch]
            yield Chunk(start, {metric: _joined(columns, metric) for metric in metrics})
            start = stop


def _resolved(metrics: Sequence[str] | None, known: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return these metrics, or those that all jobs record. Raises UnknownMetric."""
    some = dict.fromkeys(metric for of_job in known for metric in of_job)
    ensure_known(metrics or (), some)
    return tuple(metrics or (metric for metric in some if all(metric in of_job for of_job in known)))


def _columns(run: StoredChunk, start: int, stop: int) -> Chunk:
    """Return the points from `start` to `stop` as views of the stored bytes."""
    values = np.frombuffer(run.data, "<f8").reshape(len(run.metrics), -1)[
        :, max(start - run.start, 0) : stop - run.start
    ]
    return Chunk(max(start, run.start), dict(zip(run.metrics, values, strict=True)))


def _joined(runs: Sequence[Chunk], metric: str) -> Values:
    """Return the values of consecutive chunks, NaN where the metric was not recorded."""
    parts = [run.series[metric] if metric in run.series else np.full(run.end - run.start, np.nan) for run in runs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
