"""Reference engine: plain PyTorch autograd, one job at a time, on any device.

This is the oracle, not the fast path: where another engine differs from it beyond rounding, this one is right.
"""

from collections.abc import Generator, Iterator
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from jobs.curves import Curve
from jobs.errors import Diverged
from jobs.job import MnistResult, NeuronResult
from jobs.spec import MnistSpec, NeuronSpec
from workers.engines.report import REPORT_INTERVAL, Report, ensure_finite
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


def train_neuron(spec: NeuronSpec, *, device: torch.device) -> Iterator[Report]:
    """Plain gradient descent on one sigmoid neuron with one sample, in float64.

    Yields:
        Reports whose curves together have epochs + 1 points; point k is the state after k updates, point 0 before any.

    Raises:
        Diverged: a figure stopped being finite.

    Source: Nielsen, Neural Networks and Deep Learning, ch. 3, eqs. 55-56 (quadratic), 61-62 (cross-entropy).
    """
    started = reported = perf_counter()
    layer = initial_layers(spec.init, (1, 1), seed=spec.seed, dtype=np.float64)[0]
    weight = torch.tensor(layer.weights, device=device, requires_grad=True)
    bias = torch.tensor(layer.biases, device=device, requires_grad=True)
    x = torch.tensor([[spec.input]], dtype=torch.float64, device=device)
    y = torch.tensor([[spec.target]], dtype=torch.float64, device=device)
    curve = Curve()
    for update in range(spec.epochs + 1):
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
        if perf_counter() - reported >= REPORT_INTERVAL:
            yield Report(update + 1, update + 1, curve)
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


def train_mnist(spec: MnistSpec, images: ImageSets, *, device: torch.device) -> Iterator[Report]:
    """Plain SGD on minibatches, in float32; an epoch is `steps_per_epoch` steps, not a pass over the data.

    Args:
        spec: what to train.
        images: MNIST on `device`.
        device: where to train.

    Yields:
        Reports whose curves together have one point for each epoch, taken after it.

    Raises:
        Diverged: the cost, or another figure, stopped being finite.
    """
    started = perf_counter()
    network = initial_network(spec, device)
    order = SampleOrder(seed=spec.seed, size=len(images.train))
    points: list[dict[str, float]] = []
    for epoch in range(spec.epochs):
        mean_cost = yield from _train_epoch(spec, network, images, order, epoch)
        done = (epoch + 1) * spec.steps_per_epoch
        trained = Report(done, epoch, Curve(epoch))
        test = yield from _evaluated(network, images.test, spec, trained)
        validation = yield from _evaluated(network, images.validation, spec, trained)
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
        points.append(point)
        curve = Curve(epoch)
        curve.append(point)
        if epoch + 1 == spec.epochs or _should_stop(spec, points):
            yield Report(done, epoch + 1, curve, _mnist_result(points, network, images, perf_counter() - started))
            return
        yield Report(done, epoch + 1, curve)


def _train_epoch(
    spec: MnistSpec, network: Network, images: ImageSets, order: SampleOrder, epoch: int
) -> Generator[Report, None, float]:
    """Train one epoch; returns the mean of its minibatches' costs, each taken before its update."""
    reported = perf_counter()
    first = epoch * spec.steps_per_epoch
    # A rate beyond the range of float32 becomes infinite there, and the training then reports that it diverged.
    rate = torch.tensor(spec.learning_rate, dtype=torch.float64).to(torch.float32).item()
    total = torch.zeros((), dtype=torch.float64, device=images.train.pixels.device)
    for step in range(first, first + spec.steps_per_epoch):
        if (step - first) % _LOOKED_UP == 0:
            batches = _batches(spec, order, step, min(step + _LOOKED_UP, first + spec.steps_per_epoch))
            batches = batches.to(total.device)
        batch = batches[(step - first) % _LOOKED_UP]
        z = logits(network, images.train.pixels[batch])
        value = cost(z, images.train.targets[batch], loss=spec.loss, reduction=spec.reduction)
        torch.autograd.backward(value)
        total += value.detach()
        _descend(network, rate)
        if perf_counter() - reported >= REPORT_INTERVAL:
            ensure_finite({"cost": total.item()}, where=f"in epoch {epoch}, by step {step + 1}")
            yield Report(step + 1, epoch, Curve(epoch))
            reported = perf_counter()
    return total.item() / spec.steps_per_epoch


def _evaluated(
    network: Network, images: Images, spec: MnistSpec, meanwhile: Report
) -> Generator[Report, None, Evaluation]:
    """Evaluate; a wide network takes seconds, in which `meanwhile` is reported now and then."""
    reported = perf_counter()
    for so_far in evaluate_in_parts(network, images, spec):
        evaluation = so_far
        if perf_counter() - reported >= REPORT_INTERVAL:
            yield meanwhile
            reported = perf_counter()
    return evaluation


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
