"""Loop around an engine's MNIST steps: epochs, evaluation, reports, snapshots and early stopping.

An engine that trains one network implements only `Steps`. An engine that trains many drives the `training` generator
of each, and answers their requests together.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from costcurve.analysis.randomness import SampleOrder
from costcurve.core.curve import STEPS_A_POINT, Curve, metrics_of
from costcurve.core.errors import Diverged
from costcurve.core.job import MnistResult
from costcurve.core.spec import MnistSpec, phase_at
from workers.engines.base import Report, Snapshot, copied, ensure_finite, kept_tensor, restore
from workers.engines.step_metrics import StepCosts
from workers.training.diagnostics import diagnosed_images
from workers.training.evaluation import final_network, least_class_accuracy
from workers.training.network import Evaluation, Images, ImageSets, Network, weights_sha256

T = TypeVar("T")

# Fewest calls of an engine between two reports, and most steps of one call.
_CALLS_PER_REPORT = 8
_MOST_STEPS = 4096


class State(Protocol):
    """A network in training. Callers may change its tensors in place."""

    @property
    def network(self) -> Network:
        """The layers, on the engine's device."""

    def enter(self, phase: MnistSpec) -> None:
        """Train, evaluate and diagnose with this spec's loss, reduction and learning rate from here on.

        A phase is one of `phases_of` the spec. A training begins in that of epoch 0.
        """


class Steps(State, Protocol):
    """A network in training, with one engine's operations on it, in place."""

    def train(self, batches: Tensor) -> Tensor:
        """Make one step for each row of training image numbers.

        The rows are (steps, batch_size) int64 on the CPU. Return the cost of each minibatch before its update,
        (steps,), on any device. The split of steps into calls changes no bit.
        """

    def evaluate(self, images: Images) -> Iterator[Evaluation]:
        """Yield the evaluation of the images so far, after each part.

        A part takes a fraction of a second. The last evaluation covers all images.
        """

    def diagnose(self, images: Images) -> Mapping[str, float]:
        """Return the network's `diagnosis_metrics` on these images, the first training images."""


class _Wish(Generic[T]):
    """A request from the training generator.

    The engine sets the result with `grant`, then resumes the generator.
    """

    _granted: T | None = None

    def grant(self, found: T) -> None:
        """Set the result of this request."""
        self._granted = found

    @property
    def granted(self) -> T:
        """Result of this request. Raises ValueError if the engine has not set it."""
        if self._granted is None:
            raise ValueError(f"the training was resumed before its {type(self).__name__} was granted")
        return self._granted


@dataclass(eq=False)
class Train(_Wish[Tensor]):
    """A request for `Steps.train` with these batches, (steps, batch_size) int64 on the CPU."""

    batches: Tensor


@dataclass(eq=False)
class Evaluate(_Wish[Iterator[Evaluation]]):
    """A request for `Steps.evaluate` with these images."""

    images: Images


@dataclass(eq=False)
class Diagnose(_Wish[Mapping[str, float]]):
    """A request for the current network's `diagnosis_metrics` on `diagnosed_images`."""


Training = Generator[Report | Train | Evaluate | Diagnose, None, None]


def learning_rate(spec: MnistSpec) -> float:
    """Return the learning rate, rounded to float32.

    A rate beyond the range of float32 becomes infinite, and the training then reports that it diverged.
    """
    return torch.tensor(spec.learning_rate, dtype=torch.float64).to(torch.float32).item()


def train_epochs(
    spec: MnistSpec, images: ImageSets, steps: Steps, *, resume: Snapshot | None, report_interval: float
) -> Iterator[Report]:
    """Train all epochs of one network, and yield its reports.

    `train_mnist` in workers/engines/autograd.py describes the reports.

    Args:
        spec: what to train.
        images: MNIST on the engine's device.
        steps: the engine's network, before any update.
        resume: snapshot to resume from; None starts at step 0.
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
    """Run one training as a generator that yields requests and reports.

    The caller sets the result of each request, then resumes the generator.

    Args:
        spec: what to train.
        images: MNIST on the engine's device.
        state: the network before any update. It must show the effect of a request when the generator is resumed.
        resume: snapshot to resume from; None starts at step 0.
        report_interval: seconds between two reports.
        calls_per_report: fewest Train requests between two reports, once the training has measured its speed.
    """
    course = _Course(spec, images, state, resume, report_interval, calls_per_report)
    if resume is None:
        yield (wish := Diagnose())
        course.start = wish.granted
    for epoch in range(len(course.points), spec.epochs):
        course.enter(phase_at(spec, epoch))
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
                "least_class_accuracy": least_class_accuracy(images.test, test),
                "validation_accuracy": validation.correct / len(images.validation),
                **wish.granted,
            }
            ensure_finite(point, where=f"after epoch {epoch}", updates=spec.steps_per_epoch)
        except Diverged:
            yield replace(course.report(Curve(epoch)), snapshot=None)  # no training may resume from there
            raise
        curve = Curve(epoch)
        curve.append(point)
        course.end_epoch(point)
        if epoch + 1 == spec.epochs or _should_stop(spec, course.points):
            yield course.last_report(curve, test)
            return
        yield course.report(curve)


class _Course:
    """The changing state of one training; a snapshot copies it between two steps."""

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
        self._phase = phase_at(spec, 0)
        self.points: list[dict[str, float]] = []
        # Diagnosis of the network before any update; None after it was reported.
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

    def enter(self, phase: MnistSpec) -> None:
        """Train with this phase of the schedule from the next epoch on."""
        if phase != self._phase:
            self._state.enter(phase)
            self._phase = phase

    def train_epoch(self, epoch: int) -> Generator[Report | Train, None, float]:
        """Train the rest of the epoch, and return the mean cost of its minibatches.

        Each cost is taken before the minibatch's update.
        """
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
        """Evaluate the network on these images, and yield reports meanwhile.

        A wide network takes seconds: a report every `report_interval` seconds shows that the training continues.
        """
        self._reported = perf_counter()
        yield (wish := Evaluate(images))
        for so_far in wish.granted:
            evaluation = so_far
            if perf_counter() - self._reported >= self._report_interval:
                yield self.report(Curve(len(self.points)))
                self._reported = perf_counter()
        return evaluation

    def end_epoch(self, point: dict[str, float]) -> None:
        """Add the epoch's point, and start the next epoch."""
        self.points.append(point)
        self._costs.end_epoch()
        self._reported = perf_counter()

    def report(self, curve: Curve) -> Report:
        """Return the progress, the new points and a snapshot as a report."""
        tensors = {**self._parameters(), **self._costs.tensors()}
        snapshot = partial(self._snapshot, self._step, len(self.points), self._seconds(), tensors)
        return replace(self._news(self._costs.take_points()), curve=curve, snapshot=snapshot)

    def last_report(self, curve: Curve, test: Evaluation) -> Report:
        """Return the last report of a training, with its result and the final network.

        `test` is the last evaluation of the network.
        """
        final = final_network(self._state.network, self._images.test, test, loss=self._phase.loss)
        return replace(self._news(self._costs.take_points(last=True)), curve=curve, result=self.result(), final=final)

    def _news(self, steps: Curve) -> Report:
        start, self.start = self.start, None
        return Report(self._step, len(self.points), Curve(), steps=steps, start=start)

    def result(self) -> MnistResult:
        """Return the result of the training so far."""
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
        """Return the training image numbers of steps first … behind - 1.

        The shape is (steps, batch_size), int64.
        """
        size = self._spec.batch_size
        return torch.from_numpy(self._order.between(first * size, behind * size)).reshape(behind - first, size)

    def _adapt(self, took: float) -> None:
        """Adapt the steps of the next call: few calls, but reports on time."""
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
