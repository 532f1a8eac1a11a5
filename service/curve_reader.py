"""Curves of one or more jobs, read in pieces so that memory stays bounded."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial

import numpy as np

from costcurve.analysis.sampling import Chunk, Numbers, Sample, Values, collect_all, min_points, sample_curves
from costcurve.core.curve import Curve, Granularity
from costcurve.core.errors import InvalidRequest
from costcurve.core.validation import FieldError
from costcurve.store import JobStore
from costcurve.store.curve_chunks import CurvePage, StoredChunk, ensure_known
from service.heavy_work import check_wanted

# Most points in one response. The next request starts at `next_from`.
MAX_POINTS = 100_000
# Values in one piece, of all jobs and metrics together: about a megabyte.
_PIECE_VALUES = 20_000
# Fewest points of a job in one batch that is read for sampling; a stored chunk is always read as a whole.
_BATCH_POINTS = 65_536
# Up to this number of points, values are read chunk by chunk.
_FEW_POINTS = 100


class Reading:
    """A range of x over the curves of one or more jobs.

    It does not include points that the jobs record while it is read.
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
        self._job_ids = job_ids
        self.granularity = granularity
        self._heads = [
            store.curve(job_id, granularity=granularity, first=first, last=last, limit=0) for job_id in job_ids
        ]
        self.metrics = self._resolved(metrics)

    def _resolved(self, metrics: Sequence[str] | None) -> tuple[str, ...]:
        known = dict.fromkeys(metric for head in self._heads for metric in head.known)
        ensure_known(metrics or (), known)
        return tuple(metrics or (metric for metric in known if all(metric in head.known for head in self._heads)))

    @property
    def known(self) -> list[tuple[str, ...]]:
        """Metrics that each job records, in the order of the jobs."""
        return [head.known for head in self._heads]

    @property
    def stride(self) -> int:
        """Distance in x between two neighbouring points."""
        return self._heads[0].stride

    @property
    def start(self) -> int:
        """Number of the range's first point; its x is `start` · `stride`."""
        return self._heads[0].curve.start

    @cached_property
    def ends(self) -> list[int]:
        """One past the number of each job's last point in the range."""
        return [self.start + head.total_points for head in self._heads]

    @property
    def total_points(self) -> int:
        """Number of x in the range at which any job has a point."""
        return max(self.ends) - self.start

    @property
    def fewest_points(self) -> int:
        """Smallest `max_points` that holds all ends and the extremes of one bucket."""
        return min_points(curves=len(self._job_ids), metrics=len(self.metrics))

    def pieces(self) -> Iterator[list[Curve]]:
        """Yield the range in pieces: one curve per job, over the same points.

        A curve is empty if its job has no points there.
        """
        ends, start, end = list(self.ends), self.start, max(self.ends)
        size = max(1, _PIECE_VALUES // (len(self._job_ids) * max(len(self.metrics), 1)))
        while start < end:
            check_wanted()
            stop = min(end, start + size)
            runs = []
            for i, (job_id, head) in enumerate(zip(self._job_ids, self._heads, strict=True)):
                run = self._piece(job_id, head, start, min(stop, ends[i])) if start < ends[i] else Curve(start)
                if run.end < min(stop, ends[i]):  # the job has just been restarted
                    ends[i] = run.end
                runs.append(run)
            yield runs
            start = stop

    def _piece(self, job_id: str, head: CurvePage, start: int, stop: int) -> Curve:
        metrics = [metric for metric in self.metrics if metric in head.known]
        if not metrics:
            return Curve(start)
        return self._store.curve(
            job_id,
            granularity=self.granularity,
            metrics=metrics,
            first=start * self.stride,
            last=(stop - 1) * self.stride,
            limit=stop - start,
        ).curve

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
            return collect_all(self.pieces(), self.metrics, curves=len(self._job_ids))
        readers = [partial(self._runs, i) for i in range(len(self._job_ids))]
        return sample_curves(readers, self.metrics, first=self.start, last=max(self.ends) - 1, points=max_points)

    def _runs(self, i: int, xs: Numbers | None) -> Iterator[Chunk]:
        """Yield one job's curve over the range in large chunks.

        If `xs` is given, stretches without any of these points are skipped.
        """
        start, end = self.start, self.ends[i]
        metrics = [metric for metric in self.metrics if metric in self._heads[i].known]
        points = _BATCH_POINTS if xs is None or len(xs) > _FEW_POINTS else 1
        while start < end:
            if xs is not None:
                following = xs[np.searchsorted(xs, start) :]
                if not len(following) or following[0] >= end:
                    return
                start = int(following[0])
            check_wanted()
            batch = self._store.curve_chunks(self._job_ids[i], granularity=self.granularity, start=start, points=points)
            if not batch:  # the job has just been restarted
                return
            stop = min(batch[-1].end, end)
            columns = [_columns(run, start, stop) for run in batch]
            yield Chunk(start, {metric: _joined(columns, metric) for metric in metrics})
            start = stop


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
