"""Long curves shown by few of their points: which start, end, and swing as far as the whole does.

x is cut into buckets of equal width, a power of two, whose bounds are multiples of that width. Of each bucket the
lowest and the highest value of every metric of every curve is kept, the first where there are several; and of every
curve the first and the last point. A point that is kept is kept whole: with all of its values, each as it was recorded.
So curves that are compared share one x, and buckets that are full keep their points while a curve grows, until twice
the width is needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan

from jobs.curves import Curve

# The values of one point, a row for each curve; None where the curve has no such point, or no such metric there.
_Point = list[list[float | None]]


def fewest_points(*, curves: int, metrics: int) -> int:
    """The fewest points by which so many metrics of so many curves can be shown: one bucket, and all ends."""
    return 2 * curves * metrics + 2 * curves


def bucket_width(first: int, last: int, *, buckets: int) -> int:
    """The smallest power of two that takes no more than so many buckets from x = first to x = last."""
    width = 1
    while last // width - first // width >= buckets:
        width *= 2
    return width


@dataclass(frozen=True, slots=True)
class Sample:
    """Points of some curves: `columns[i][metric][k]` is that of curve i at `x[k]`, None where it has none."""

    x: list[int]
    columns: list[dict[str, list[float | None]]]


@dataclass(slots=True)
class _Bucket:
    """For each column seen so far its lowest and its highest value, and at which x they are."""

    low: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)
    high: dict[tuple[int, int], tuple[float, int]] = field(default_factory=dict)
    points: dict[int, _Point] = field(default_factory=dict)


class Sampler:
    """Chooses points of some curves that come in runs, of which one at a time is in memory."""

    def __init__(self, metrics: Sequence[str], *, curves: int = 1, width: int) -> None:
        self._metrics = metrics
        self._curves = curves
        self._width = width
        self._number: int | None = None
        self._bucket = _Bucket()
        self._kept: dict[int, _Point] = {}
        self._last: dict[int, tuple[int, _Point]] = {}

    def add(self, runs: Sequence[Curve]) -> None:
        """Take a run of each curve. Those with any points start at the same x, behind all that came before."""
        start, end = bounds_of(runs)
        for i, run in enumerate(runs):
            if not len(run):
                continue
            if i not in self._last:
                self._kept[run.start] = self._point(runs, run.start)
            self._last[i] = run.end - 1, self._point(runs, run.end - 1)
        while start < end:
            number = start // self._width
            stop = min(end, (number + 1) * self._width)
            if number != self._number:
                self._close()
                self._number = number
            self._look(runs, start, stop)
            start = stop

    def sample(self) -> Sample:
        """What has been chosen of all that was taken."""
        self._close()
        kept = self._kept | dict(self._last.values())
        xs = sorted(kept)
        columns: list[dict[str, list[float | None]]] = [
            {metric: [kept[x][i][m] for x in xs] for m, metric in enumerate(self._metrics)} for i in range(self._curves)
        ]
        return Sample(xs, columns)

    def _look(self, runs: Sequence[Curve], start: int, stop: int) -> None:
        """Take what lies between start and stop, all in one bucket."""
        bucket = self._bucket
        for i, run in enumerate(runs):
            for m, metric in enumerate(self._metrics):
                values = run.series.get(metric, ())[start - run.start : stop - run.start] if len(run) else ()
                # A metric that the job began to record later has NaN before.
                known = [value for value in values if not isnan(value)] if values and isnan(values[0]) else values
                if not known:
                    continue
                low, high = min(known), max(known)
                if (i, m) not in bucket.low or low < bucket.low[i, m][0]:
                    bucket.low[i, m] = low, self._remember(runs, start + values.index(low))
                if (i, m) not in bucket.high or high > bucket.high[i, m][0]:
                    bucket.high[i, m] = high, self._remember(runs, start + values.index(high))

    def _remember(self, runs: Sequence[Curve], x: int) -> int:
        if x not in self._bucket.points:
            self._bucket.points[x] = self._point(runs, x)
        return x

    def _point(self, runs: Sequence[Curve], x: int) -> _Point:
        def value(run: Curve, metric: str) -> float | None:
            return run.series[metric][x - run.start] if x < run.end and metric in run.series else None

        return [[value(run, metric) for metric in self._metrics] for run in runs]

    def _close(self) -> None:
        """The bucket is full: what was its lowest or highest for a while only is forgotten."""
        bucket, self._bucket = self._bucket, _Bucket()
        extremes = (*bucket.low.values(), *bucket.high.values())
        self._kept |= {x: bucket.points[x] for _, x in extremes}


def whole(runs: Iterable[Sequence[Curve]], metrics: Sequence[str], *, curves: int = 1) -> Sample:
    """All points of the curves, whose runs come side by side."""
    xs: list[int] = []
    columns: list[dict[str, list[float | None]]] = [{metric: [] for metric in metrics} for _ in range(curves)]
    for side_by_side in runs:
        start, end = bounds_of(side_by_side)
        xs.extend(range(start, end))
        for column, run in zip(columns, side_by_side, strict=True):
            for metric in metrics:
                values = run.series.get(metric, ())
                column[metric].extend(values)
                column[metric].extend([None] * (end - start - len(values)))
    return Sample(xs, columns)


def bounds_of(runs: Sequence[Curve]) -> tuple[int, int]:
    """Where runs that lie side by side start, and behind which x they end; an empty one does not count."""
    some = [run for run in runs if len(run)]
    return max((run.start for run in some), default=0), max((run.end for run in some), default=0)


def sampled(
    runs: Iterable[Sequence[Curve]], metrics: Sequence[str], *, first: int, last: int, curves: int = 1, points: int
) -> Sample:
    """At most `points` points of the curves between first and last, whose runs come side by side.

    Args:
        runs: again and again a run of each curve, as `Sampler.add` takes them.
        metrics: the columns of each curve.
        first: where the range begins; no run does earlier.
        last: where it ends.
        curves: how many there are.
        points: how many to keep, `fewest_points` at least.
    """
    buckets = (points - 2 * curves) // (2 * curves * len(metrics))
    width = 1 if last - first < points else bucket_width(first, last, buckets=buckets)
    sampler = Sampler(metrics, curves=curves, width=width)
    for side_by_side in runs:
        sampler.add(side_by_side)
    return sampler.sample()
