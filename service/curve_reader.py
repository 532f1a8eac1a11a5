"""Curves of one or more jobs, read piece by piece: however long they are, little of them is in memory."""

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

# Points in one answer, at most. `next_from` leads on.
MAX_POINTS = 100_000
# Values, of all jobs and metrics together, that are read at once to be told one by one: about a megabyte.
_PIECE_VALUES = 20_000
# Points of a job that are read at once to be sampled, at least; a stored run is always read as a whole.
_BATCH_POINTS = 65_536
# The values of no more points are read run by run.
_FEW_POINTS = 100


class Reading:
    """A range of the curves of some jobs, side by side. What they record while it is read is not part of it."""

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
        """Find out what there is to read.

        Args:
            store: where the curves are.
            job_ids: whose; all of one experiment.
            granularity: a point an epoch, or one for each hundred steps.
            metrics: which; those that all of the jobs record if None or empty.
            first: the first x.
            last: the last x, inclusive; None for the newest.

        Raises:
            JobNotFound: there is no such job.
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
        """For each job the metrics that it records."""
        return [head.known for head in self._heads]

    @property
    def stride(self) -> int:
        """How far apart in x the points are."""
        return self._heads[0].stride

    @property
    def start(self) -> int:
        """The number of the range's first point: its x is `start` · `stride`."""
        return self._heads[0].curve.start

    @cached_property
    def ends(self) -> list[int]:
        """For each job the number behind that of its last point in the range."""
        return [self.start + head.total_points for head in self._heads]

    @property
    def total_points(self) -> int:
        """How many x the range has at which there is a point of any job."""
        return max(self.ends) - self.start

    @property
    def fewest_points(self) -> int:
        """The smallest `max_points` that holds the ends, and the extremes of a single bucket."""
        return min_points(curves=len(self._job_ids), metrics=len(self.metrics))

    def pieces(self) -> Iterator[list[Curve]]:
        """The range in runs, one of each job, side by side; empty where a job has no points."""
        ends, start, end = list(self.ends), self.start, max(self.ends)
        size = max(1, _PIECE_VALUES // (len(self._job_ids) * max(len(self.metrics), 1)))
        while start < end:
            check_wanted()
            stop = min(end, start + size)
            runs = []
            for i, (job_id, head) in enumerate(zip(self._job_ids, self._heads, strict=True)):
                run = self._piece(job_id, head, start, min(stop, ends[i])) if start < ends[i] else Curve(start)
                if run.end < min(stop, ends[i]):  # the job begins anew just now
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
        """At most so many points of the range; the whole if that is no more, or if None.

        Raises:
            InvalidRequest: so many points cannot show the ends and extremes of all that is asked for.
        """
        if max_points is not None and max_points < self.fewest_points:
            message = (
                f"must be at least {self.fewest_points} here: for each job and metric a lowest and a highest point, "
                "and for each job the first and the last"
            )
            raise InvalidRequest(f"max_points {message}", errors=[FieldError("/query/max_points", message)])
        if max_points is None or self.total_points <= max_points:
            return collect_all(self.pieces(), self.metrics, curves=len(self._job_ids))
        readers = [partial(self._runs, i) for i in range(len(self._job_ids))]
        return sample_curves(readers, self.metrics, first=self.start, last=max(self.ends) - 1, points=max_points)

    def _runs(self, i: int, xs: Numbers | None) -> Iterator[Chunk]:
        """The range of one job's curve in large runs; those that hold these points, if any are given."""
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
            if not batch:  # the job begins anew just now
                return
            stop = min(batch[-1].end, end)
            columns = [_columns(run, start, stop) for run in batch]
            yield Chunk(start, {metric: _joined(columns, metric) for metric in metrics})
            start = stop


def _columns(run: StoredChunk, start: int, stop: int) -> Chunk:
    """The points of a stored run from start to stop; views of its bytes."""
    values = np.frombuffer(run.data, "<f8").reshape(len(run.metrics), -1)[
        :, max(start - run.start, 0) : stop - run.start
    ]
    return Chunk(max(start, run.start), dict(zip(run.metrics, values, strict=True)))


def _joined(runs: Sequence[Chunk], metric: str) -> Values:
    """The values of consecutive runs; NaN where the metric was not recorded."""
    parts = [run.series[metric] if metric in run.series else np.full(run.end - run.start, np.nan) for run in runs]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
