"""Reference engine: plain PyTorch autograd, one job at a time, on any device.

This is the oracle, not the fast path: where another engine differs from it beyond rounding, this one is right.
"""

from collections.abc import Generator, Iterator, Mapping
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from jobs.curves import MNIST_METRICS, Curve
from jobs.errors import Diverged
from jobs.job import MnistResult, NeuronResult
from jobs.spec import MnistSpec, NeuronSpec
from workers.engines.report import REPORT_INTERVAL, Report, Snapshot, ensure_finite
from workers.experiments.inits import initial_layers
from workers.experiments.losses import cost
from workers.experiments.mlp import (
    Evaluation,
    Images,
    ImageSets,
    Network,
    evaluate_in_parts,
    initial_network,
    logits,
    weights_sha256,
)
from workers.experiments.randomness import SampleOrder

NAME = "autograd"

# Steps whose batches are looked up at once.
_LOOKED_UP = 100


def train_neuron(
    spec: NeuronSpec,
    *,
    device: torch.device,
    resume: Snapshot | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Iterator[Report]:
    """Plain gradient descent on one sigmoid neuron with one sample, in float64.

    Args:
        spec: what to train.
        device: where to train.
        resume: where to go on; at the beginning if None.
        report_interval: seconds between two reports.

    Yields:
        Reports whose curves together have epochs + 1 points; point k is the state after k updates, point 0 before any.
        A training that is resumed after k updates begins with point k.

    Raises:
        Diverged: a figure stopped being finite.

    Source: Nielsen, Neural Networks and Deep Learning, ch. 3, eqs. 55-56 (quadratic), 61-62 (cross-entropy).
    """
    reported = perf_counter()
    started = reported - (resume.seconds if resume is not None else 0.0)
    first = resume.step if resume is not None else 0
    layer = initial_layers(spec.init, (1, 1), seed=spec.seed, dtype=np.float64)[0]
    weight = torch.tensor(layer.weights, device=device, requires_grad=True)
    bias = torch.tensor(layer.biases, device=device, requires_grad=True)
    if resume is not None:
        _restore({"weight": weight, "bias": bias}, resume)
    x = torch.tensor([[spec.input]], dtype=torch.float64, device=device)
    y = torch.tensor([[spec.target]], dtype=torch.float64, device=device)
    curve = Curve(first)
    for update in range(first, spec.epochs + 1):
        z = x @ weight + bias
        value = cost(z, y, loss=spec.loss, reduction=spec.reduction)
        torch.autograd.backward(value)
        point = _neuron_point(value, z, weight, bias)
        try:
            ensure_finite(point, where=f"after {update} updates")
        except Diverged:
            yield Report(update, update, curve)
            raise
        curve.append(point)
        if update == spec.epochs:
            break
        _descend(((weight, bias),), spec.learning_rate)
        if perf_counter() - reported >= report_interval:
            done, tensors, seconds = update + 1, {"weight": weight, "bias": bias}, perf_counter() - started
            yield Report(done, done, curve, snapshot=partial(_snapshot, done, done, seconds, tensors))
            curve, reported = Curve(curve.end), perf_counter()
    result = NeuronResult(
        final_cost=point["cost"],
        final_output=point["output"],
        final_weight=point["weight"],
        final_bias=point["bias"],
        train_seconds=perf_counter() - started,
    )
    yield Report(spec.epochs, spec.epochs, curve, result)


def _neuron_point(value: Tensor, z: Tensor, weight: Tensor, bias: Tensor) -> dict[str, float]:
    return {
        "cost": value.item(),
        "output": torch.sigmoid(z).item(),
        "weight": weight.item(),
        "bias": bias.item(),
        "gradient": _gradient(weight).item(),
        "sigmoid_prime": (torch.sigmoid(z) * torch.sigmoid(-z)).item(),
    }


def train_mnist(
    spec: MnistSpec,
    images: ImageSets,
    *,
    device: torch.device,
    resume: Snapshot | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Iterator[Report]:
    """Plain SGD on minibatches, in float32; an epoch is `steps_per_epoch` steps, not a pass over the data.

    Args:
        spec: what to train.
        images: MNIST on `device`.
        device: where to train.
        resume: where to go on, in the middle of an epoch as well; at the beginning if None.
        report_interval: seconds between two reports.

    Yields:
        Reports whose curves together have one point for each epoch, taken after it.

    Raises:
        Diverged: the cost, or another figure, stopped being finite.
    """
    training = _MnistTraining(spec, images, device, resume, report_interval)
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


class _MnistTraining:
    """One network on its way: everything that changes while it is trained, between two steps also as a snapshot."""

    def __init__(
        self, spec: MnistSpec, images: ImageSets, device: torch.device, resume: Snapshot | None, report_interval: float
    ) -> None:
        self._spec = spec
        self._images = images
        self._order = SampleOrder(seed=spec.seed, size=len(images.train))
        self._report_interval = report_interval
        self._started = self._reported = perf_counter()
        self._network = initial_network(spec, device)
        # Of the minibatches of the epoch so far, each taken before its update.
        self._cost_sum = torch.zeros((), dtype=torch.float64, device=device)
        self.step = 0
        self.points: list[dict[str, float]] = []
        if resume is not None:
            self._started -= resume.seconds
            self.step = resume.step
            _restore(self._tensors(), resume)
            rows: list[list[float]] = resume.tensors["points"].tolist()
            self.points = [dict(zip(MNIST_METRICS, row, strict=True)) for row in rows]

    def train_epoch(self, epoch: int) -> Generator[Report, None, float]:
        """Train what is left of the epoch; returns the mean of its minibatches' costs, each taken before its update."""
        spec = self._spec
        # A rate beyond the range of float32 becomes infinite there, and the training then reports that it diverged.
        rate = torch.tensor(spec.learning_rate, dtype=torch.float64).to(torch.float32).item()
        end = (epoch + 1) * spec.steps_per_epoch
        while self.step < end:
            first, behind = self.step, min(self.step + _LOOKED_UP, end)
            batches = _batches(spec, self._order, first, behind).to(self._cost_sum.device)
            for batch in batches:
                z = logits(self._network, self._images.train.pixels[batch])
                value = cost(z, self._images.train.targets[batch], loss=spec.loss, reduction=spec.reduction)
                torch.autograd.backward(value)
                self._cost_sum += value.detach()
                _descend(self._network, rate)
                self.step += 1
                if perf_counter() - self._reported >= self._report_interval:
                    ensure_finite({"cost": self._cost_sum.item()}, where=f"in epoch {epoch}, by step {self.step}")
                    yield self.report(Curve(epoch))
                    self._reported = perf_counter()
        return self._cost_sum.item() / spec.steps_per_epoch

    def evaluate(self, images: Images, meanwhile: Report) -> Generator[Report, None, Evaluation]:
        """Evaluate; a wide network takes seconds, in which `meanwhile` is reported now and then."""
        self._reported = perf_counter()
        for so_far in evaluate_in_parts(self._network, images, self._spec):
            evaluation = so_far
            if perf_counter() - self._reported >= self._report_interval:
                yield meanwhile
                self._reported = perf_counter()
        return evaluation

    def end_epoch(self, point: dict[str, float]) -> None:
        """Add the epoch's point, and begin the next."""
        self.points.append(point)
        self._cost_sum.zero_()
        self._reported = perf_counter()

    def report(self, curve: Curve) -> Report:
        """How far the training is, and the curve's new points."""
        return Report(self.step, len(self.points), curve, snapshot=self._snapshot)

    def result(self) -> MnistResult:
        """What the training came to."""
        seconds = perf_counter() - self._started
        return _mnist_result(self.points, self._network, self._images, seconds)

    def _snapshot(self) -> Snapshot:
        rows = [[point[metric] for metric in MNIST_METRICS] for point in self.points]
        points = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(MNIST_METRICS))
        tensors = {**self._tensors(), "points": points}
        return _snapshot(self.step, len(self.points), perf_counter() - self._started, tensors)

    def _tensors(self) -> dict[str, Tensor]:
        named = {"cost_sum": self._cost_sum}
        for number, (weights, biases) in enumerate(self._network, start=1):
            named |= {f"weights.{number}": weights, f"biases.{number}": biases}
        return named


def _snapshot(step: int, epoch: int, seconds: float, tensors: Mapping[str, Tensor]) -> Snapshot:
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return Snapshot(step, epoch, seconds, copies)


@torch.no_grad()
def _restore(tensors: Mapping[str, Tensor], snapshot: Snapshot) -> None:
    for name, tensor in tensors.items():
        tensor.copy_(snapshot.tensors[name])


def _batches(spec: MnistSpec, order: SampleOrder, first: int, end: int) -> Tensor:
    """The training images of the batches of steps first … end - 1, (steps, batch_size) int64."""
    positions = order.between(first * spec.batch_size, end * spec.batch_size)
    return torch.from_numpy(positions).reshape(end - first, spec.batch_size)


@torch.no_grad()
def _descend(network: Network, learning_rate: float) -> None:
    """One update, p ← p − η ∂C/∂p, of every parameter; the gradients are used up."""
    for layer in network:
        for parameter in layer:
            parameter.sub_(_gradient(parameter), alpha=learning_rate)
            parameter.grad = None


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise ValueError("backward has not been called")
    return parameter.grad


def _should_stop(spec: MnistSpec, points: list[dict[str, float]]) -> bool:
    if spec.early_stopping is None:
        return False
    accuracies = [point[spec.early_stopping.metric] for point in points]
    best = accuracies.index(max(accuracies))
    return len(accuracies) - 1 - best >= spec.early_stopping.patience


def _mnist_result(points: list[dict[str, float]], network: Network, images: ImageSets, seconds: float) -> MnistResult:
    correct = [int(point["correct"]) for point in points]
    best = max(correct)
    size = len(images.test)
    return MnistResult(
        final_cost=points[-1]["cost"],
        final_correct=correct[-1],
        final_accuracy=correct[-1] / size,
        test_size=size,
        best_correct=best,
        best_accuracy=best / size,
        best_epoch=correct.index(best),
        epochs_trained=len(points),
        weights_sha256=weights_sha256(network),
        train_seconds=seconds,
    )
