"""Reference engine: plain PyTorch autograd, one job at a time, on any device.

This is the oracle, not the fast path: where another engine differs from it beyond rounding, this one is right.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from costcurve.analysis.initializers import initial_layers
from costcurve.core.curve import Curve
from costcurve.core.errors import Diverged
from costcurve.core.job import NeuronResult
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec, phase_at, phases_of
from workers.engines.base import (
    REPORT_INTERVAL,
    Report,
    Snapshot,
    copied,
    ensure_finite,
    ensure_images,
    restore,
    torch_instruction_set,
)
from workers.engines.epoch_loop import learning_rate, train_epochs
from workers.training.activations import UNIT
from workers.training.diagnostics import diagnosis
from workers.training.losses import cost, cost_of_labels
from workers.training.network import (
    Evaluation,
    Images,
    ImageSets,
    Network,
    evaluate_in_parts,
    initial_network,
    logits,
)

NAME = "autograd"
BATCH_LIMIT = None


def why_missing(_device: torch.device) -> str | None:
    """Return None: this engine is available everywhere."""
    return None


def suits(_spec: AnySpec, _device: torch.device) -> bool:
    """Return True: this engine trains every spec on every device."""
    return True


def profile(device: torch.device) -> tuple[str, Mapping[str, str]]:
    """Return the instruction set that decides the last bits, and no further versions."""
    return torch_instruction_set(device), {}


def train(
    specs: Sequence[AnySpec],
    resumes: Sequence[Snapshot | None],
    *,
    device: torch.device,
    images: ImageSets | None,
    report_interval: float,
) -> Sequence[Iterator[Report]]:
    """Return one iterator of reports for each spec; each trains by itself, whenever it is asked for a report."""

    def alone(spec: AnySpec, resume: Snapshot | None) -> Iterator[Report]:
        interval = report_interval / len(specs)
        if isinstance(spec, NeuronSpec):
            yield from train_neuron(spec, device=device, resume=resume, report_interval=interval)
        else:
            sets = ensure_images(images)
            yield from train_mnist(spec, sets, device=device, resume=resume, report_interval=interval)

    return [alone(spec, resume) for spec, resume in zip(specs, resumes, strict=True)]


def train_neuron(
    spec: NeuronSpec,
    *,
    device: torch.device,
    resume: Snapshot | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Iterator[Report]:
    """Train one sigmoid neuron on one sample by gradient descent, in float64.

    Args:
        spec: what to train.
        device: where to train.
        resume: snapshot to resume from; None starts at step 0.
        report_interval: seconds between two reports.

    Yields:
        Reports whose curves together have epochs + 1 points. Point k is the state after k updates, point 0 the state
        before any. A training that resumes after k updates begins with point k. Its cost and gradient are those of the
        next update, also where the schedule changes them.

    Raises:
        Diverged: a metric is no longer finite.

    Source: Nielsen, Neural Networks and Deep Learning, ch. 3, eqs. 55-56 (quadratic), 61-62 (cross-entropy).
    """
    reported = perf_counter()
    started = reported - (resume.seconds if resume is not None else 0.0)
    first = resume.step if resume is not None else 0
    layer = initial_layers(spec.init, (1, 1), seed=spec.seed, dtype=np.float64)[0]
    weight = torch.tensor(layer.weights, device=device, requires_grad=True)
    bias = torch.tensor(layer.biases, device=device, requires_grad=True)
    if resume is not None:
        restore({"weight": weight, "bias": bias}, resume)
    x = torch.tensor([[spec.input]], dtype=torch.float64, device=device)
    y = torch.tensor([[spec.target]], dtype=torch.float64, device=device)
    curve = Curve(first)
    phases, phase = phases_of(spec), phase_at(spec, first)
    for update in range(first, spec.epochs + 1):
        phase = phases.get(update, phase)
        z = x @ weight + bias
        value = cost(z, y, loss=phase.loss, reduction=phase.reduction)
        torch.autograd.backward(value)
        point = _neuron_point(value, z, weight, bias)
        try:
            ensure_finite(point, where=f"after {update} updates", updates=update)
        except Diverged:
            yield Report(update, update, curve)
            raise
        curve.append(point)
        if update == spec.epochs:
            break
        _descend(((weight, bias),), phase.learning_rate)
        if perf_counter() - reported >= report_interval:
            done, tensors, seconds = update + 1, {"weight": weight, "bias": bias}, perf_counter() - started
            yield Report(done, done, curve, snapshot=partial(copied, done, done, seconds, tensors))
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
    output, sigmoid_prime = UNIT.value_and_slope(z)
    return {
        "cost": value.item(),
        "output": output.item(),
        "weight": weight.item(),
        "bias": bias.item(),
        "gradient": _gradient(weight).item(),
        "sigmoid_prime": sigmoid_prime.item(),
        # |δ| of cross-entropy, a − y, over that of the quadratic loss, (a − y) σ′(z).
        "slowdown_factor": sigmoid_prime.reciprocal().item(),
    }


def train_mnist(
    spec: MnistSpec,
    images: ImageSets,
    *,
    device: torch.device,
    resume: Snapshot | None = None,
    report_interval: float = REPORT_INTERVAL,
) -> Iterator[Report]:
    """Train a network by plain SGD on minibatches, in float32.

    An epoch is `steps_per_epoch` steps, not a pass over the data.

    Args:
        spec: what to train.
        images: MNIST on `device`.
        device: where to train.
        resume: snapshot to resume from, also in the middle of an epoch; None starts at step 0.
        report_interval: seconds between two reports.

    Yields:
        Reports whose curves together have one point for each epoch, taken after the epoch.

    Raises:
        Diverged: the cost, or another metric, is no longer finite.
    """
    steps = _MnistSteps(spec, images.train, device)
    return train_epochs(spec, images, steps, resume=resume, report_interval=report_interval)


class _MnistSteps:
    def __init__(self, spec: MnistSpec, images: Images, device: torch.device) -> None:
        self._spec = spec
        self._images = images
        self.network = initial_network(spec, device)

    def enter(self, phase: MnistSpec) -> None:
        self._spec = phase

    def train(self, batches: Tensor) -> Tensor:
        rate, taken = learning_rate(self._spec), []
        for batch in batches.to(self._images.labels.device):
            z = logits(self.network, self._images.pixels[batch])
            value = cost_of_labels(z, self._images.targets[batch], loss=self._spec.loss, reduction=self._spec.reduction)
            torch.autograd.backward(value)
            taken.append(value.detach())
            _descend(self.network, rate)
        return torch.stack(taken)

    def evaluate(self, images: Images) -> Iterator[Evaluation]:
        return evaluate_in_parts(self.network, images, self._spec)

    def diagnose(self, images: Images) -> Mapping[str, float]:
        return diagnosis(self.network, images, self._spec)


@torch.no_grad()
def _descend(network: Network, learning_rate: float) -> None:
    """Update every parameter once, p ← p − η ∂C/∂p, and clear the gradients."""
    for layer in network:
        for parameter in layer:
            parameter.sub_(_gradient(parameter), alpha=learning_rate)
            parameter.grad = None


def _gradient(parameter: Tensor) -> Tensor:
    if parameter.grad is None:
        raise ValueError("backward has not been called")
    return parameter.grad
