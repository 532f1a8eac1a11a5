"""What every engine does around its steps on MNIST: epochs, evaluation, reports, snapshots, early stopping, the result.

An engine that trains one network brings `Steps`, and nothing else. One that trains many at once follows the `training`
of each, and gives all of them together what they want next.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from costcurve.core.curve import STEPS_A_POINT, Curve, metrics_of
from costcurve.core.errors import Diverged
from costcurve.core.job import MnistResult
from costcurve.core.spec import MnistSpec
from workers.engines.base import Report, Snapshot, copied, ensure_finite, kept_tensor, restore
from workers.engines.step_metrics import StepCosts
from workers.training.diagnostics import diagnosed_images
from workers.training.evaluation import final_network
from workers.training.network import Evaluation, Images, ImageSets, Network, weights_sha256
from workers.training.randomness import SampleOrder

T = TypeVar("T")

# Calls of an engine in the time between two reports, at least; and steps of one call, at the most.
_CALLS_PER_REPORT = 8
_MOST_STEPS = 4096


class State(Protocol):
    """A network on its way. Its tensors may be changed from outside, in place."""

    @property
    def network(self) -> Network:
        """The layers, on the engine's device."""


class Steps(State, Protocol):
    """A network on its way, as one engine computes it, in place."""

    def train(self, batches: Tensor) -> Tensor:
        """One step for each row of training image numbers, (steps, batch_size) int64 on the CPU.

        Returns the cost of each minibatch, taken before its update, (steps,), on any device. How the steps are parted
        into calls changes no bit.
        """

    def evaluate(self, images: Images) -> Iterator[Evaluation]:
        """What the images so far came to, after each part of a fraction of a second; the last is the whole."""

    def diagnose(self, images: Images) -> Mapping[str, float]:
        """The `diagnosis_metrics` of the network on these images, the first ones to train on."""


class _Wish(Generic[T]):
    """What a training wants done. Whoever computes grants it, and then asks the training to go on."""

    _granted: T | None = None

    def grant(self, found: T) -> None:
        """It has been done, and this was found."""
        self._granted = found

    @property
    def granted(self) -> T:
        """What was found. Raises ValueError if nothing has been done."""
        if self._granted is None:
            raise ValueError(f"a training was asked to go on, but its {type(self).__name__} was not granted")
        return self._granted


@dataclass(eq=False)
class Train(_Wish[Tensor]):
    """Wants what `Steps.train` gives for these batches, (steps, batch_size) int64 on the CPU."""

    batches: Tensor


@dataclass(eq=False)
class Evaluate(_Wish[Iterator[Evaluation]]):
    """Wants what `Steps.evaluate` gives for these images."""

    images: Images


@dataclass(eq=False)
class Diagnose(_Wish[Mapping[str, float]]):
    """Wants the `diagnosis_metrics` of the network as it is now, found on `diagnosed_images`."""


Training = Generator[Report | Train | Evaluate | Diagnose, None, None]


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
    for said in training(spec, images, steps, resume=resume, report_interval=report_interval):
        match said:
            case Train(batches):
                said.grant(steps.train(batches))
            case Evaluate(wanted):
                said.grant(steps.evaluate(wanted))
            case Diagnose():
                said.grant(steps.diagnose(diagnosed_images(images)))
            case Report():
                yield said


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
    if resume is None:
        yield (wish := Diagnose())
        course.start = wish.granted
    for epoch in range(len(course.points), spec.epochs):
        try:
            mean_cost = yield from course.train_epoch(epoch)
            test = yield from course.evaluate(images.test)
            validation = yield from course.evaluate(images.validation)
            yield (wish := Diagnose())
            point = {
                "cost": mean_cost,
                "test_cost": test.cost,
                "correct": float(test.correct),
                "accuracy": test.correct / len(images.test),
                "validation_accuracy": validation.correct / len(images.validation),
                **wish.granted,
            }
            ensure_finite(point, where=f"after epoch {epoch}", updates=spec.steps_per_epoch)
        except Diverged:
            yield replace(course.report(Curve(epoch)), snapshot=None)  # from there nobody should go on
            raise
        curve = Curve(epoch)
        curve.append(point)
        course.end_epoch(point)
        if epoch + 1 == spec.epochs or _should_stop(spec, course.points):
            yield course.last_report(curve, test)
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
        self._costs = StepCosts(spec.steps_per_epoch)
        self._metrics = metrics_of(spec)
        self._steps_a_call = 1
        self._step = 0
        self.points: list[dict[str, float]] = []
        # The network's diagnosis before any update, until it is reported.
        self.start: Mapping[str, float] | None = None
        if resume is not None:
            self._started -= resume.seconds
            self._step = resume.step
            restore(self._parameters(), resume)
            kept_tensor(resume, "cost_sum", ())
            kept_tensor(resume, "open_costs", (resume.step % STEPS_A_POINT,))
            self._costs.resume(resume.step, resume.tensors)
            rows: list[list[float]] = kept_tensor(resume, "points", (resume.epoch, len(self._metrics))).tolist()
            self.points = [dict(zip(self._metrics, row, strict=True)) for row in rows]

    def train_epoch(self, epoch: int) -> Generator[Report | Train, None, float]:
        """Train what is left of the epoch; returns the mean of its minibatches' costs, each taken before its update."""
        end = (epoch + 1) * self._spec.steps_per_epoch
        while self._step < end:
            behind = min(self._step + self._steps_a_call, end)
            started = perf_counter()
            yield (wish := Train(self._batches(self._step, behind)))
            self._step = behind
            self._costs.add(wish.granted)
            ended = perf_counter()
            self._adapt(ended - started)
            if ended - self._reported >= self._report_interval:
                self._costs.read()
                yield self.report(Curve(epoch))
                self._reported = perf_counter()
        self._costs.read()
        return self._costs.epoch_mean

    def evaluate(self, images: Images) -> Generator[Report | Evaluate, None, Evaluation]:
        """Evaluate; a wide network takes seconds, in which is reported now and then that it still goes on."""
        self._reported = perf_counter()
        yield (wish := Evaluate(images))
        for so_far in wish.granted:
            evaluation = so_far
            if perf_counter() - self._reported >= self._report_interval:
                yield self.report(Curve(len(self.points)))
                self._reported = perf_counter()
        return evaluation

    def end_epoch(self, point: dict[str, float]) -> None:
        """Add the epoch's point, and begin the next."""
        self.points.append(point)
        self._costs.end_epoch()
        self._reported = perf_counter()

    def report(self, curve: Curve) -> Report:
        """How far the training is, and what is new."""
        tensors = {**self._parameters(), **self._costs.tensors()}
        snapshot = partial(self._snapshot, self._step, len(self.points), self._seconds(), tensors)
        return replace(self._news(self._costs.take_points()), curve=curve, snapshot=snapshot)

    def last_report(self, curve: Curve, test: Evaluation) -> Report:
        """The same, and what the training came to; `test` is the last evaluation of the network."""
        final = final_network(self._state.network, self._images.test, test, loss=self._spec.loss)
        return replace(self._news(self._costs.take_points(last=True)), curve=curve, result=self.result(), final=final)

    def _news(self, steps: Curve) -> Report:
        start, self.start = self.start, None
        return Report(self._step, len(self.points), Curve(), steps=steps, start=start)

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
        rows = [[point[metric] for metric in self._metrics] for point in self.points[:epoch]]
        points = torch.tensor(rows, dtype=torch.float64).reshape(epoch, len(self._metrics))
        return copied(step, epoch, seconds, {**tensors, "points": points})

    def _parameters(self) -> Mapping[str, Tensor]:
        named: dict[str, Tensor] = {}
        for number, (weights, biases) in enumerate(self._state.network, start=1):
            named |= {f"weights.{number}": weights, f"biases.{number}": biases}
        return named


def _should_stop(spec: MnistSpec, points: list[dict[str, float]]) -> bool:
    if spec.early_stopping is None:
        return False
    accuracies = [point[spec.early_stopping.metric] for point in points]
    best = accuracies.index(max(accuracies))
    return len(accuracies) - 1 - best >= spec.early_stopping.patience
