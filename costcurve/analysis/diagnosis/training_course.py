"""Metrics of a network by epoch, and stretches that meet a condition."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from costcurve.analysis.diagnosis.thresholds import SLOWDOWN, WRONG_OUTPUTS
from costcurve.core.curve import Curve
from costcurve.core.spec import MnistSpec

Point = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive epochs from `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last + 1 - self.first


@dataclass(frozen=True, slots=True)
class NetworkCourse:
    """Metrics of a network before training and after each epoch so far.

    `start` has the metrics before the first update. It is None if they were not recorded.
    """

    spec: MnistSpec
    start: Point | None
    points: Sequence[Point]
    is_over: bool

    @classmethod
    def of(cls, spec: MnistSpec, start: Point | None, curve: Curve, *, is_over: bool) -> "NetworkCourse":
        """Return the course of a whole curve, from epoch 0 on."""
        rows = zip(*curve.series.values(), strict=True)
        return cls(spec, start, [dict(zip(curve.series, row, strict=True)) for row in rows], is_over)

    @property
    def accuracies(self) -> list[float]:
        """Accuracy on the test images after each epoch."""
        return [point["accuracy"] for point in self.points]

    @property
    def starts_stuck(self) -> bool | None:
        """Return True if the outputs start saturated where they are wrong.

        Return None if the start is not recorded.
        """
        return None if self.start is None else is_stuck(self.start)

    def longest(self, holds: Callable[[Point], bool]) -> Stretch | None:
        """Return the longest stretch of epochs after which the condition holds.

        Return the first one if several are equally long; None if there is none.
        """
        return longest([holds(point) for point in self.points])

    def mean(self, metric: str, stretch: Stretch) -> float:
        """Return the mean of the metric over these epochs."""
        return fmean(point[metric] for point in self.points[stretch.first : stretch.last + 1])

    def reaches_now(self, stretch: Stretch) -> bool:
        """Return True if the stretch includes the latest epoch."""
        return stretch.last == len(self.points) - 1

    def span(self, stretch: Stretch) -> str:
        """Return the stretch in words, to begin a sentence with."""
        if not self.reaches_now(stretch):
            return f"From epoch {stretch.first} to epoch {stretch.last}"
        if self.is_over:
            return f"From epoch {stretch.first} to the end"
        return f"From epoch {stretch.first} up to now, epoch {stretch.last},"


def is_stuck(point: Point) -> bool:
    """Return True if the outputs are badly wrong and saturated there.

    With the quadratic loss such a network hardly learns.
    """
    return point["slowdown_factor"] >= SLOWDOWN and point["output_delta.cross_entropy"] >= WRONG_OUTPUTS


def longest(flags: Sequence[bool]) -> Stretch | None:
    """Return the longest stretch of places at which the flag is True.

    Return the first one if several are equally long; None if there is none.
    """
    return max(_stretches(flags), key=len, default=None)


def _stretches(flags: Sequence[bool]) -> Iterator[Stretch]:
    place = 0
    for flag, group in groupby(flags):
        count = len(list(group))
        if flag:
            yield Stretch(place, place + count - 1)
        place += count
