"""Downsampling of curves that keeps first, last, lowest and highest points.

x is divided into buckets of equal width. The width is a power of two, and the bounds are multiples of it.
Each bucket keeps the points with the lowest and the highest value of every metric of every curve. The first of
several equal values counts. Every curve keeps its first and its last point. A kept point has all of its values, each
as it was recorded.
So all compared curves share one x. Full buckets keep their points while a curve grows, until twice the width is
needed.

Each curve is read one chunk at a time: once to find the points to keep, and once for their values. So only a small
part of a curve is in memory, for any length of the curve.
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
    """Points at x = start, start + 1, …, stored by metric.

    `series` has the values of each metric. All metrics have the same number of values.
    """

    start: int
    series: Mapping[str, Values]

    @property
    def end(self) -> int:
        """The x after the last point."""
        return self.start + len(next(iter(self.series.values()), ()))


# Reads a curve in consecutive chunks: the whole curve if given None, else at least the points at these ascending x.
Reader: TypeAlias = Callable[[Numbers | None], Iterable[Chunk]]


def min_points(*, curves: int, metrics: int) -> int:
    """Return the fewest points that can show these metrics of these curves.

    That is one bucket, and the first and the last point of each curve.
    """
    return 2 * curves * metrics + 2 * curves


def bucket_width(first: int, last: int, *, buckets: int) -> int:
    """Return the smallest power of two that needs at most `buckets` buckets.

    The buckets cover x = first to x = last.
    """
    width = 1
    while last // width - first // width >= buckets:
        width *= 2
    return width


@dataclass(frozen=True, slots=True)
class Sample:
    """Points of several curves at the same x.

    `columns[i][metric][k]` is the value of curve i at `x[k]`; None where the curve has none.
    """

    x: list[int]
    columns: list[dict[str, list[float | None]]]


def sample_curves(curves: Sequence[Reader], metrics: Sequence[str], *, first: int, last: int, points: int) -> Sample:
    """Return at most `points` points of the curves between first and last.

    Args:
        curves: one reader for each curve; it is called twice.
        metrics: the columns of each curve.
        first: start of the range; no curve starts earlier.
        last: end of the range.
        points: number of points to keep, at least `min_points`.
    """
    buckets = (points - 2 * len(curves)) // (2 * len(curves) * len(metrics))
    width = 1 if last - first < points else bucket_width(first, last, buckets=buckets)
    kept = [_kept(read(None), metrics, width) for read in curves]
    xs = np.unique(np.concatenate([np.zeros(0, np.int64), *kept]))
    return Sample(xs.tolist(), [values_at(read(xs), metrics, xs) for read in curves])


def values_at(chunks: Iterable[Chunk], metrics: Sequence[str], xs: Numbers) -> dict[str, list[float | None]]:
    """Return the values of a curve at these ascending x.

    A value is None where the curve has no point, or does not have the metric. `chunks` are consecutive chunks.
    """
    columns: dict[str, list[float | None]] = {metric: [None] * len(xs) for metric in metrics}
    for chunk in chunks:
        low, high = (int(place) for place in np.searchsorted(xs, [chunk.start, chunk.end]))
        for metric in metrics:
            if metric in chunk.series and low < high:
                columns[metric][low:high] = chunk.series[metric][xs[low:high] - chunk.start].tolist()
    return columns


def _kept(chunks: Iterable[Chunk], metrics: Sequence[str], width: int) -> Numbers:
    """Return the x of the points to keep: ends and bucket extremes."""
    ends: list[int] = []
    lows: dict[str, list[_Extremes]] = {metric: [] for metric in metrics}
    highs: dict[str, list[_Extremes]] = {metric: [] for metric in metrics}
    for chunk in chunks:
        ends = [ends[0] if ends else chunk.start, chunk.end - 1]
        for metric, values in chunk.series.items():
            if metric in lows:
                lows[metric] += _lowest(values, chunk.start, width)
                highs[metric] += _lowest(-values, chunk.start, width)
    of_buckets = [_first_lowest(found) for side in (lows, highs) for found in side.values() if found]
    return np.concatenate([np.array(ends, np.int64), *of_buckets])


@dataclass(frozen=True, slots=True)
class _Extremes:
    """Lowest value of each bucket, and the first x that has it.

    `buckets` are the numbers of the buckets.
    """

    buckets: Numbers
    values: Values
    xs: Numbers


def _lowest(values: Values, start: int, width: int) -> list[_Extremes]:
    """Return the lowest value of each bucket that these values fill.

    Buckets at the ends may be filled in part. The first value is at x = start.
    """
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
        unknown = np.isnan(lowest)  # argmin finds NaN first: a value that was not recorded
        for row in np.flatnonzero(unknown):
            known = np.flatnonzero(~np.isnan(block[row]))
            if len(known):
                places[row] = known[block[row, known].argmin()]
                lowest[row], unknown[row] = block[row, places[row]], False
        xs = at + rows * width + places
        found.append(_Extremes((xs // width)[~unknown], lowest[~unknown], xs[~unknown]))
    return found


def _first_lowest(found: Sequence[_Extremes]) -> Numbers:
    """Return the x of each bucket's lowest value, the first of equals."""
    buckets = np.concatenate([each.buckets for each in found])
    values = np.concatenate([each.values for each in found])
    xs = np.concatenate([each.xs for each in found])
    order = np.lexsort((xs, values, buckets))
    _, first = np.unique(buckets[order], return_index=True)
    lowest: Numbers = xs[order][first]
    return lowest


def collect_all(chunks: Iterable[Sequence[Curve]], metrics: Sequence[str], *, curves: int = 1) -> Sample:
    """Return all points of the curves.

    Each item of `chunks` has one chunk for each curve, over the same x.
    """
    xs: list[int] = []
    columns: list[dict[str, list[float | None]]] = [{metric: [] for metric in metrics} for _ in range(curves)]
    for side_by_side in chunks:
        start, end = bounds_of(side_by_side)
        xs.extend(range(start, end))
        for column, chunk in zip(columns, side_by_side, strict=True):
            for metric in metrics:
                values = chunk.series.get(metric, ())
                column[metric].extend(values)
                column[metric].extend([None] * (end - start - len(values)))
    return Sample(xs, columns)


def bounds_of(chunks: Sequence[Curve]) -> tuple[int, int]:
    """Return the first x of these chunks and their end.

    The end is the x after the last point. The chunks cover the same x. Empty ones do not count.
    """
    some = [chunk for chunk in chunks if len(chunk)]
    return max((chunk.start for chunk in some), default=0), max((chunk.end for chunk in some), default=0)
