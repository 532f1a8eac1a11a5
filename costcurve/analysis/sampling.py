"""Long curves shown by few of their points: which start, end, and swing as far as the whole does.

x is cut into buckets of equal width, a power of two, whose bounds are multiples of that width. Of each bucket the
lowest and the highest value of every metric of every curve is kept, the first where there are several; and of every
curve the first and the last point. A point that is kept is kept whole: with all of its values, each as it was recorded.
So curves that are compared share one x, and buckets that are full keep their points while a curve grows, until twice
the width is needed.

Each curve is read one run at a time, once to find the points to keep, and once for their values. So little of it is in
memory, however long it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from costcurve.core.curve import Curve

Numbers: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Points at x = start, start + 1, …; for each metric its values, all equally many."""

    start: int
    series: Mapping[str, Values]

    @property
    def end(self) -> int:
        """The x behind the last point."""
        return self.start + len(next(iter(self.series.values()), ()))


# Reads a curve in runs, each behind the one before it: all of it, or at least the points at these ascending x.
Reader: TypeAlias = Callable[[Numbers | None], Iterable[Chunk]]


def min_points(*, curves: int, metrics: int) -> int:
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


def sample_curves(curves: Sequence[Reader], metrics: Sequence[str], *, first: int, last: int, points: int) -> Sample:
    """At most `points` points of the curves between first and last.

    Args:
        curves: each reads one of them; called twice.
        metrics: the columns of each curve.
        first: where the range begins; no curve does earlier.
        last: where it ends.
        points: how many to keep, `min_points` at least.
    """
    buckets = (points - 2 * len(curves)) // (2 * len(curves) * len(metrics))
    width = 1 if last - first < points else bucket_width(first, last, buckets=buckets)
    kept = [_kept(read(None), metrics, width) for read in curves]
    xs = np.unique(np.concatenate([np.zeros(0, np.int64), *kept]))
    return Sample(xs.tolist(), [values_at(read(xs), metrics, xs) for read in curves])


def values_at(runs: Iterable[Chunk], metrics: Sequence[str], xs: Numbers) -> dict[str, list[float | None]]:
    """The values of a curve at these ascending x; None where it has no point, or does not have the metric."""
    columns: dict[str, list[float | None]] = {metric: [None] * len(xs) for metric in metrics}
    for run in runs:
        low, high = (int(place) for place in np.searchsorted(xs, [run.start, run.end]))
        for metric in metrics:
            if metric in run.series and low < high:
                columns[metric][low:high] = run.series[metric][xs[low:high] - run.start].tolist()
    return columns


def _kept(runs: Iterable[Chunk], metrics: Sequence[str], width: int) -> Numbers:
    """The x of a curve's points to keep: its ends, and the extremes of each bucket."""
    ends: list[int] = []
    lows: dict[str, list[_Extremes]] = {metric: [] for metric in metrics}
    highs: dict[str, list[_Extremes]] = {metric: [] for metric in metrics}
    for run in runs:
        ends = [ends[0] if ends else run.start, run.end - 1]
        for metric, values in run.series.items():
            if metric in lows:
                lows[metric] += _lowest(values, run.start, width)
                highs[metric] += _lowest(-values, run.start, width)
    of_buckets = [_first_lowest(found) for side in (lows, highs) for found in side.values() if found]
    return np.concatenate([np.array(ends, np.int64), *of_buckets])


@dataclass(frozen=True, slots=True)
class _Extremes:
    """For some buckets, by their numbers, the lowest value and the first x at which it is."""

    buckets: Numbers
    values: Values
    xs: Numbers


def _lowest(values: Values, start: int, width: int) -> list[_Extremes]:
    """The lowest values of each bucket, or part of one, that these values fill, the first of which is at x = start."""
    end = start + len(values)
    first_full = min(-(-start // width) * width, end)
    last_full = max(end // width * width, first_full)
    parts = [values[None, : first_full - start], values[first_full - start : last_full - start].reshape(-1, width)]
    parts.append(values[None, last_full - start :])
    found = []
    for at, block in zip((start, first_full, last_full), parts, strict=True):
        if not block.size:
            continue
        places = block.argmin(axis=1)
        rows = np.arange(len(block))
        lowest = block[rows, places]
        unknown = np.isnan(lowest)  # argmin finds NaN before all else: what the job did not record there
        for row in np.flatnonzero(unknown):
            known = np.flatnonzero(~np.isnan(block[row]))
            if len(known):
                places[row] = known[block[row, known].argmin()]
                lowest[row], unknown[row] = block[row, places[row]], False
        xs = at + rows * width + places
        found.append(_Extremes((xs // width)[~unknown], lowest[~unknown], xs[~unknown]))
    return found


def _first_lowest(found: Sequence[_Extremes]) -> Numbers:
    """For each bucket the x of its lowest value, the first where there are several."""
    buckets = np.concatenate([each.buckets for each in found])
    values = np.concatenate([each.values for each in found])
    xs = np.concatenate([each.xs for each in found])
    order = np.lexsort((xs, values, buckets))
    _, first = np.unique(buckets[order], return_index=True)
    lowest: Numbers = xs[order][first]
    return lowest


def collect_all(runs: Iterable[Sequence[Curve]], metrics: Sequence[str], *, curves: int = 1) -> Sample:
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
