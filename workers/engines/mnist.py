"""What every engine does around its steps on MNIST: epochs, evaluation, reports, snapshots, early stopping, the result.

An engine that trains one network brings `Steps`, and nothing else. One that trains many at once follows the `training`
of each, and gives all of them together what they want next.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Protocol

import torch
from torch import Tensor

from jobs.curves import MNIST_METRICS, Curve
from jobs.errors import Diverged
from jobs.job import MnistResult
from jobs.spec import MnistSpec
from workers.engines.report import Report, Snapshot, copied, ensure_finite, restore
from workers.experiments.mlp import Evaluation, Images, ImageSets, Network, weights_sha256
from workers.experiments.randomness import SampleOrder

# Calls of an engine in the time between two reports, at least; and steps of one call, at the most.
_CALLS_PER_REPORT = 8
_MOST_STEPS = 4096


class State(Protocol):
    """A network on its way. Its tensors may be changed from outside, in place."""

    @property
    def network(self) -> Network:
        """The layers, on the engine's device."""

    @property
    def cost_sum(self) -> Tensor:
        """A float64 scalar, to which each step adds the cost of its minibatch, taken before the update."""


class Steps(State, Protocol):
    """A network on its way, as one engine computes it, in place."""

    def train(self, batches: Tensor) -> None:
        """One step for each row of training image numbers, (steps, batch_size) int64 on the CPU.

        How the steps are parted into calls changes no bit.
        """

    def evaluate(self, images: Images) -> Iterator[Evaluation]:
        """What the images so far came to, after each part of a fraction of a second; the last is the whole."""


@dataclass(frozen=True, slots=True)
class Train:
    """A training wants `Steps.train` of these batches, (steps, batch_size) int64 on the CPU."""

    batches: Tensor


@dataclass(frozen=True, slots=True)
class Evaluate:
    """A training wants what `Steps.evaluate` gives for these images; that is to be sent to it."""

    images: Images


Training = Generator[Report | Train | Evaluate, Iterator[Evaluation] | None, None]


def learning_rate(spec: MnistSpec) -> float:
    """As float32: a rate beyond its range becomes infinite there, and the training then reports that it diverged."""
    return torch.tensor(spec.learning_rate, dtype=torch.float64).to(torch.float32).item()


def train_epochs(
    spec: MnistSpec, images: ImageSets, steps: Steps, *, resume: Snapshot | None, report_interval: float
) -> Iterator[Report]:
    """Train all epochs of one network; what is yielded is the engine's contract: workers/engines/autograd.py says it.

    Args:
        spec: what to train.
        images: MNIST on the engine's device.
        steps: the engine's network, at its start.
        resume: where to go on; at the beginning if None.
        report_interval: seconds between two reports.
    """
    wishes = training(spec, images, steps, resume=resume, report_interval=report_interval)
    answer: Iterator[Evaluation] | None = None
    while True:
        try:
            wish = wishes.send(answer)
        except StopIteration:
            return
        answer = None
        match wish:
            case Train(batches):
                steps.train(batches)
            case Evaluate(wanted):
                answer = steps.evaluate(wanted)
            case report:
                yield report


def training(
    spec: MnistSpec,
    images: ImageSets,
    state: State,
    *,
    resume: Snapshot | None,
    report_interval: float,
    calls_per_report: int = _CALLS_PER_REPORT,
) -> Training:
    """The whole course of a training, for somebody who computes: what it wants next, and its reports in between.

    Args:
        spec: what to train.
        images: MNIST on the engine's device.
        state: the network at its start. A wish that was granted shows in it when the training is asked to go on.
        resume: where to go on; at the beginning if None.
        report_interval: seconds between two reports.
        calls_per_report: wishes to train in this time, at least, once a training has found out how fast it gets on.
    """
    course = _Course(spec, images, state, resume, report_interval, calls_per_report)
    for epoch in range(len(course.points), spec.epochs):
        mean_cost = yield from course.train_epoch(epoch)
        trained = course.report(Curve(epoch))
        test = yield from course.evaluate(images.test, trained)
        validation = yield from course.evaluate(images.validation, trained)
        point = {
            "cost": mean_cost,
            "test_cost": test.cost,
            "correct": float(test.correct),
            "accuracy": test.correct / len(images.test),
            "validation_accuracy": validation.correct / len(images.validation),
        }
        try:
            ensure_finite(point, where=f"after epoch {epoch}")
        except Diverged:
            yield trained
            raise
        curve = Curve(epoch)
        curve.append(point)
        course.end_epoch(point)
        if epoch + 1 == spec.epochs or _should_stop(spec, course.points):
            yield Report(course.step, epoch + 1, curve, course.result())
            return
        yield course.report(curve)


class _Course:
    """One network on its way: everything that changes while it is trained, between two steps also as a snapshot."""

    def __init__(
        self,
        spec: MnistSpec,
        images: ImageSets,
        state: State,
        resume: Snapshot | None,
        report_interval: float,
        calls_per_report: int,
    ) -> None:
        self._spec = spec
        self._images = images
        self._order = SampleOrder(seed=spec.seed, size=len(images.train))
        self._report_interval = report_interval
        self._seconds_a_call = report_interval / calls_per_report
        self._started = self._reported = perf_counter()
        self._state = state
        self._steps_a_call = 1
        self.step = 0
        self.points: list[dict[str, float]] = []
        if resume is not None:
            self._started -= resume.seconds
            self.step = resume.step
            restore(self._tensors(), resume)
            rows: list[list[float]] = resume.tensors["points"].tolist()
            self.points = [dict(zip(MNIST_METRICS, row, strict=True)) for row in rows]

    def train_epoch(self, epoch: int) -> Generator[Report | Train, Iterator[Evaluation] | None, float]:
        """Train what is left of the epoch; returns the mean of its minibatches' costs, each taken before its update."""
        end = (epoch + 1) * self._spec.steps_per_epoch
        while self.step < end:
            behind = min(self.step + self._steps_a_call, end)
            started = perf_counter()
            yield Train(self._batches(self.step, behind))
            self.step = behind
            ended = perf_counter()
            self._adapt(ended - started)
            if ended - self._reported >= self._report_interval:
                ensure_finite({"cost": self._state.cost_sum.item()}, where=f"in epoch {epoch}, by step {self.step}")
                yield self.report(Curve(epoch))
                self._reported = perf_counter()
        return self._state.cost_sum.item() / self._spec.steps_per_epoch

    def evaluate(
        self, images: Images, meanwhile: Report
    ) -> Generator[Report | Evaluate, Iterator[Evaluation] | None, Evaluation]:
        """Evaluate; a wide network takes seconds, in which `meanwhile` is reported now and then."""
        self._reported = perf_counter()
        parts = yield Evaluate(images)
        if parts is None:
            raise ValueError("an evaluation that was wanted has not been sent")
        for so_far in parts:
            evaluation = so_far
            if perf_counter() - self._reported >= self._report_interval:
                yield meanwhile
                self._reported = perf_counter()
        return evaluation

    def end_epoch(self, point: dict[str, float]) -> None:
        """Add the epoch's point, and begin the next."""
        self.points.append(point)
        self._state.cost_sum.zero_()
        self._reported = perf_counter()

    def report(self, curve: Curve) -> Report:
        """How far the training is, and the curve's new points."""
        # The sum is copied: it is set to zero when the epoch ends, and whoever computes may do that elsewhere.
        tensors = {**self._tensors(), "cost_sum": self._state.cost_sum.clone()}
        snapshot = partial(self._snapshot, self.step, len(self.points), self._seconds(), tensors)
        return Report(self.step, len(self.points), curve, snapshot=snapshot)

    def result(self) -> MnistResult:
        """What the training came to."""
        correct = [int(point["correct"]) for point in self.points]
        best, size = max(correct), len(self._images.test)
        return MnistResult(
            final_cost=self.points[-1]["cost"],
            final_correct=correct[-1],
            final_accuracy=correct[-1] / size,
            test_size=size,
            best_correct=best,
            best_accuracy=best / size,
            best_epoch=correct.index(best),
            epochs_trained=len(self.points),
            weights_sha256=weights_sha256(self._state.network),
            train_seconds=self._seconds(),
        )

    def _batches(self, first: int, behind: int) -> Tensor:
        """The training images of the batches of steps first … behind - 1, (steps, batch_size) int64."""
        size = self._spec.batch_size
        return torch.from_numpy(self._order.between(first * size, behind * size)).reshape(behind - first, size)

    def _adapt(self, took: float) -> None:
        """Let the next call take so long that reports come in time, and that calls are few."""
        if took > self._seconds_a_call:
            self._steps_a_call = max(self._steps_a_call // 2, 1)
        elif took < self._seconds_a_call / 2:
            self._steps_a_call = min(self._steps_a_call * 2, _MOST_STEPS)

    def _seconds(self) -> float:
        return perf_counter() - self._started

    def _snapshot(self, step: int, epoch: int, seconds: float, tensors: Mapping[str, Tensor]) -> Snapshot:
        rows = [[point[metric] for metric in MNIST_METRICS] for point in self.points[:epoch]]
        points = torch.tensor(rows, dtype=torch.float64).reshape(epoch, len(MNIST_METRICS))
        return copied(step, epoch, seconds, {**tensors, "points": points})

    def _tensors(self) -> Mapping[str, Tensor]:
        named = {"cost_sum": self._state.cost_sum}
        for number, (weights, biases) in enumerate(self._state.network, start=1):
            named |= {f"weights.{number}": weights, f"biases.{number}": biases}
        return named


def _should_stop(spec: MnistSpec, points: list[dict[str, float]]) -> bool:
    if spec.early_stopping is None:
        return False
    accuracies = [point[spec.early_stopping.metric] for point in points]
    best = accuracies.index(max(accuracies))
    return len(accuracies) - 1 - best >= spec.early_stopping.patience
