"""Metrics of a network by epoch, and stretches that meet a condition."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from statistics import fmean
from typing import Any

from costcurve.analysis.diagnosis.expected_accuracy import expected_accuracy
from costcurve.analysis.diagnosis.thresholds import (
    LINEAR_CLASSIFIER,
    PLATEAU_UPDATES,
    SLOWDOWN,
    STANDING_STILL,
    WRONG_OUTPUTS,
)
from costcurve.analysis.sound_rate import expected_output_slope, sound_rate
from costcurve.core.curve import Curve
from costcurve.core.errors import Diverged
from costcurve.core.job import Failure
from costcurve.core.losses import ARTICLE_LOSSES, Loss
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

    `start` has the metrics before the first update. It is None if they were not recorded. `failure` is the error of a
    job that failed.
    """

    spec: MnistSpec
    start: Point | None
    points: Sequence[Point]
    is_over: bool
    failure: Failure | None = None

    @classmethod
    def of(
        cls, spec: MnistSpec, start: Point | None, curve: Curve, *, is_over: bool, failure: Failure | None = None
    ) -> "NetworkCourse":
        """Return the course of a whole curve, from epoch 0 on."""
        rows = zip(*curve.series.values(), strict=True)
        return cls(spec, start, [dict(zip(curve.series, row, strict=True)) for row in rows], is_over, failure)

    @property
    def has_failed(self) -> bool:
        """Return True if the training diverged."""
        return self.failure is not None and self.failure.code == Diverged.code

    @property
    def updates(self) -> int:
        """Number of updates up to the latest epoch."""
        return len(self.points) * self.spec.steps_per_epoch

    @property
    def expected(self) -> float:
        """Accuracy that a sound network of this shape reaches after as many updates."""
        return expected_accuracy(self.spec, self.updates)

    @property
    def expected_with_more(self) -> float:
        """Accuracy that a sound network of this shape reaches after some thousand updates."""
        return expected_accuracy(self.spec, max(self.updates, 5_000))

    @property
    def latest(self) -> float:
        """Accuracy after the latest epoch."""
        return self.points[-1]["accuracy"]

    @property
    def gap(self) -> float:
        """Share of the test images by which the latest accuracy is below the expected one."""
        return self.expected - self.latest

    @property
    def shortfall(self) -> dict[str, float]:
        """Evidence of the gap: the latest accuracy and the expected one."""
        return {"accuracy": self.latest, "expected_accuracy": self.expected}

    @property
    def sound_rate(self) -> float:
        """Effective learning rate that suits this network.

        A start with saturated outputs says nothing of it: then the start that the init has without its fault counts.
        """
        return self.sound_rate_of(self.spec.loss)

    @property
    def rate_ratio(self) -> float:
        """The effective learning rate in relation to the sound one."""
        return self.spec.effective_learning_rate / self.sound_rate

    def sound_rate_of(self, loss: Loss) -> float:
        """Return the effective learning rate that suits this network with this loss."""
        output = len(self.spec.layers) - 1
        if self.start is None or self.starts_stuck:
            slope = expected_output_slope(self.spec.init.model_copy(update={"output_bias": 0.0}), self.spec.layers)
        else:
            slope = self.start[f"mean_sigmoid_prime.{output}"]
        return rate_for(self.spec.model_copy(update={"loss": loss}), slope)

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

    @property
    def plateau(self) -> Stretch | None:
        """The longest stretch below a linear classifier's accuracy that adds less than STANDING_STILL in all.

        None if it has fewer updates than PLATEAU_UPDATES. So the length of an epoch does not matter.
        """
        best = list(accumulate(self.accuracies, max))
        found, first = Stretch(0, 0), 0
        for last, accuracy in enumerate(best):
            if accuracy >= LINEAR_CLASSIFIER:
                break
            while accuracy - best[first] >= STANDING_STILL:
                first += 1
            found = max(found, Stretch(first, last), key=len)
        return found if self.updates_between(found) >= PLATEAU_UPDATES else None

    def updates_between(self, stretch: Stretch) -> int:
        """Return the updates from the first point of the stretch to its last."""
        return (len(stretch) - 1) * self.spec.steps_per_epoch

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


def missing(course: NetworkCourse) -> str:
    """Return the gap in a sentence."""
    updates = course.updates
    return (
        f"The accuracy is {course.latest:.1%} after {updates:,} update{'s' if updates > 1 else ''}, where about "
        f"{course.expected:.0%} can be expected."
    )


def epochs_of(course: NetworkCourse, stretch: Stretch) -> dict[str, Any]:
    """Return the evidence of a stretch of epochs."""
    has_ended = not course.reaches_now(stretch)
    return {"from_epoch": stretch.first, "to_epoch": stretch.last, "has_ended": has_ended}


def rate_for(spec: MnistSpec, output_slope: float) -> float:
    """Return the sound effective rate of this spec if its output layer starts with this mean σ′(z).

    Of a loss to which the formula was not fitted nothing is known: then it is the spec's own rate.
    """
    if spec.loss not in ARTICLE_LOSSES:
        return spec.effective_learning_rate
    return sound_rate(
        loss=spec.loss,
        layers=spec.layers,
        batch_size=spec.batch_size,
        output_slope=output_slope,
        updates=spec.total_steps,
    )


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
