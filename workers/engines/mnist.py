"""What every engine does around its steps on MNIST: epochs, evaluation, reports, snapshots, early stopping, the result.

An engine brings `Steps`, and nothing else.
"""

from collections.abc import Generator, Iterator, Mapping
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


class Steps(Protocol):
    """A network on its way, as one engine computes it. Its tensors are changed in place, and may be from outside."""

    @property
    def network(self) -> Network:
        """The layers, on the engine's device."""

    @property
    def cost_sum(self) -> Tensor:
        """A float64 scalar, to which each step adds the cost of its minibatch, taken before the update."""

    def train(self, batches: Tensor) -> None:
        """One step for each row of training image numbers, (steps, batch_size) int64 on the CPU.

        How the steps are parted into calls changes no bit.
        """

    def evaluate(self, images: Images) -> Iterator[Evaluation]:
        """What the images so far came to, after each part of a fraction of a second; the last is the whole."""


def learning_rate(spec: MnistSpec) -> float:
    """As float32: a rate beyond its range becomes infinite there, and the training then reports that it diverged."""
    return torch.tensor(spec.learning_rate, dtype=torch.float64).to(torch.float32).item()


def train_epochs(
    spec: MnistSpec, images: ImageSets, steps: Steps, *, resume: Snapshot | None, report_interval: float
) -> Iterator[Report]:
    """Train all epochs; what is yielded is the engine's contract: workers/engines/autograd.py says it.

    Args:
        spec: what to train.
        images: MNIST on the engine's device.
        steps: the engine's network, at its start.
        resume: where to go on; at the beginning if None.
        report_interval: seconds between two reports.
    """
    training = _Training(spec, images, steps, resume, report_interval)
    for epoch in range(len(training.points), spec.epochs):
        mean_cost = yield from training.train_epoch(epoch)
        trained = training.report(Curve(epoch))
        test = yield from training.evaluate(images.test, trained)
        validation = yield from training.evaluate(images.validation, trained)
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
        training.end_epoch(point)
        if epoch + 1 == spec.epochs or _should_stop(spec, training.points):
            yield Report(training.step, epoch + 1, curve, training.result())
            return
        yield training.report(curve)


class _Training:
    """One network on its way: everything that changes while it is trained, between two steps also as a snapshot."""

    def __init__(
        self, spec: MnistSpec, images: ImageSets, steps: Steps, resume: Snapshot | None, report_interval: float
    ) -> None:
        self._spec = spec
        self._images = images
        self._order = SampleOrder(seed=spec.seed, size=len(images.train))
        self._report_interval = report_interval
        self._started = self._reported = perf_counter()
        self._steps = steps
        self._steps_a_call = 1
        self.step = 0
        self.points: list[dict[str, float]] = []
        if resume is not None:
            self._started -= resume.seconds
            self.step = resume.step
            restore(self._tensors(), resume)
            rows: list[list[float]] = resume.tensors["points"].tolist()
            self.points = [dict(zip(MNIST_METRICS, row, strict=True)) for row in rows]

    def train_epoch(self, epoch: int) -> Generator[Report, None, float]:
        """Train what is left of the epoch; returns the mean of its minibatches' costs, each taken before its update."""
        end = (epoch + 1) * self._spec.steps_per_epoch
        while self.step < end:
            behind = min(self.step + self._steps_a_call, end)
            started = perf_counter()
            self._steps.train(self._batches(self.step, behind))
            self.step = behind
            ended = perf_counter()
            self._adapt(ended - started)
            if ended - self._reported >= self._report_interval:
                ensure_finite({"cost": self._steps.cost_sum.item()}, where=f"in epoch {epoch}, by step {self.step}")
                yield self.report(Curve(epoch))
                self._reported = perf_counter()
        return self._steps.cost_sum.item() / self._spec.steps_per_epoch

    def evaluate(self, images: Images, meanwhile: Report) -> Generator[Report, None, Evaluation]:
        """Evaluate; a wide network takes seconds, in which `meanwhile` is reported now and then."""
        self._reported = perf_counter()
        for so_far in self._steps.evaluate(images):
            evaluation = so_far
            if perf_counter() - self._reported >= self._report_interval:
                yield meanwhile
                self._reported = perf_counter()
        return evaluation

    def end_epoch(self, point: dict[str, float]) -> None:
        """Add the epoch's point, and begin the next."""
        self.points.append(point)
        self._steps.cost_sum.zero_()
        self._reported = perf_counter()

    def report(self, curve: Curve) -> Report:
        """How far the training is, and the curve's new points."""
        return Report(self.step, len(self.points), curve, snapshot=self._snapshot)

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
            weights_sha256=weights_sha256(self._steps.network),
            train_seconds=perf_counter() - self._started,
        )

    def _batches(self, first: int, behind: int) -> Tensor:
        """The training images of the batches of steps first … behind - 1, (steps, batch_size) int64."""
        size = self._spec.batch_size
        return torch.from_numpy(self._order.between(first * size, behind * size)).reshape(behind - first, size)

    def _adapt(self, took: float) -> None:
        """Let the next call take so long that reports come in time, and that calls are few."""
        wanted = self._report_interval / _CALLS_PER_REPORT
        if took > wanted:
            self._steps_a_call = max(self._steps_a_call // 2, 1)
        elif took < wanted / 2:
            self._steps_a_call = min(self._steps_a_call * 2, _MOST_STEPS)

    def _snapshot(self) -> Snapshot:
        rows = [[point[metric] for metric in MNIST_METRICS] for point in self.points]
        points = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(MNIST_METRICS))
        tensors = {**self._tensors(), "points": points}
        return copied(self.step, len(self.points), perf_counter() - self._started, tensors)

    def _tensors(self) -> Mapping[str, Tensor]:
        named = {"cost_sum": self._steps.cost_sum}
        for number, (weights, biases) in enumerate(self._steps.network, start=1):
            named |= {f"weights.{number}": weights, f"biases.{number}": biases}
        return named


def _should_stop(spec: MnistSpec, points: list[dict[str, float]]) -> bool:
    if spec.early_stopping is None:
        return False
    accuracies = [point[spec.early_stopping.metric] for point in points]
    best = accuracies.index(max(accuracies))
    return len(accuracies) - 1 - best >= spec.early_stopping.patience
