"""The envelope of a long series: few points that show where it starts, ends, and how far it swings between."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from jobs.curves import Curve


@dataclass(slots=True)
class Envelope:
    """Of every bucket of `width` consecutive x the lowest and the highest value; and the first and the last point.

    All values are recorded ones, each at its own x. Width 1 keeps every point.
    """

    width: int
    _first: tuple[int, float] | None = None
    _last: tuple[int, float] | None = None
    _buckets: dict[int, tuple[tuple[int, float], tuple[int, float]]] = field(default_factory=dict)

    def add(self, start: int, values: Iterable[float]) -> None:
        """Take the values at x = start, x = start + 1 and so on."""
        point = None
        for x, value in enumerate(values, start=start):
            point = (x, value)
            low, high = self._buckets.get(x // self.width, (point, point))
            self._buckets[x // self.width] = (min(low, point, key=_value), max(high, point, key=_value))
            if self._first is None:
                self._first = point
        self._last = point or self._last

    def points(self) -> list[tuple[int, float]]:
        """The points that are kept, by x."""
        kept = {point for bucket in self._buckets.values() for point in bucket}
        return sorted(kept | {point for point in (self._first, self._last) if point is not None})


def envelopes(runs: Iterable[Curve], metrics: Iterable[str], *, width: int) -> dict[str, list[tuple[int, float]]]:
    """The envelope of each metric of a curve that comes in runs, of which one at a time is in memory."""
    found = {metric: Envelope(width) for metric in metrics}
    for run in runs:
        for metric, envelope in found.items():
            envelope.add(run.start, run.series[metric])
    return {metric: envelope.points() for metric, envelope in found.items()}


def _value(point: tuple[int, float]) -> float:
    return point[1]
