"""Diagnostics of a network: how well it can learn from its current state.

They measure the signals that its layers pass on, and the gradients that each loss would give. Names follow Nielsen,
Neural Networks and Deep Learning, ch. 2: z the weighted input of a unit, a = σ(z), δ = ∂C/∂z.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import torch
from torch import Tensor

from costcurve.core.losses import diagnosed_losses
from costcurve.core.metrics import SATURATED_BELOW
from costcurve.core.spec import DIGITS, MnistSpec
from workers.training.activations import UNIT
from workers.training.losses import Outputs, chosen, loss_named
from workers.training.network import Images, ImageSets, Network

_DIAGNOSED = 1000
# Most activations of one layer in memory at once.
_MOST_NUMBERS = 1 << 24
# Two hidden units are alike if their weights and biases differ by at most this share of the larger one's norm.
_ALIKE = 0.01
# Units of a layer that are compared, the first ones at most: the time grows with the square of their number.
_MOST_COMPARED = 2048


@dataclass(frozen=True, slots=True)
class Stack:
    """Networks of one shape side by side, with everything that decides their gradients.

    Each layer has W (lanes, n_in, n_out) and b (lanes, 1, n_out), float32. `losses` has each loss to diagnose, with a
    (lanes,) bool that is True where the loss is the lane's own. `scales` (lanes,) multiply a sum over the outputs to
    give the cost of a sample. `rates` (lanes,) are the learning rates.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    losses: Mapping[str, Tensor]
    scales: Tensor
    rates: Tensor


def diagnosed_images(images: ImageSets) -> Images:
    """Return the first training images: every network is diagnosed on them."""
    return images.train.first(_DIAGNOSED)


class FirstLayer(Protocol):
    """The first layer's forward and backward pass on a set of images.

    Tensors are (lanes, units, samples or inputs).
    """

    def logits(self, weights: Tensor, biases: Tensor, part: slice) -> Tensor:
        """Return z of this part of the images.

        W is (lanes, n_in, n_out), and b is (lanes, 1, n_out).
        """

    def gradient(self, delta: Tensor, part: slice) -> Tensor:
        """Return ∂C/∂W, (lanes, n_out, n_in), from the δ of this part."""


@dataclass(frozen=True, slots=True)
class DensePixels:
    """The first layer as a product with all pixels, (n, 784)."""

    pixels: Tensor

    def logits(self, weights: Tensor, biases: Tensor, part: slice) -> Tensor:
        """Return z of this part of the images, as in `FirstLayer`."""
        return torch.baddbmm(biases.mT, weights.mT, self.pixels[part].mT.expand(len(weights), -1, -1))

    def gradient(self, delta: Tensor, part: slice) -> Tensor:
        """Return ∂C/∂W from the δ of this part, as in `FirstLayer`."""
        return delta @ self.pixels[part]


def diagnosis(
    network: Network, images: Images, spec: MnistSpec, *, first_layer: FirstLayer | None = None
) -> Mapping[str, float]:
    """Return the `diagnosis_metrics` of one network on these images, by name.

    Args:
        network: the layers.
        images: on the network's device.
        spec: loss, reduction and learning rate of its training.
        first_layer: computes the network's first layer on these images; None for a dense product.
    """
    device = images.labels.device
    stack = Stack(
        [weights.detach().unsqueeze(0) for weights, _ in network],
        [biases.detach().reshape(1, 1, -1) for _, biases in network],
        {loss: torch.tensor([spec.loss == loss], device=device) for loss in diagnosed_losses(spec.loss)},
        torch.tensor([1 / DIGITS if spec.reduction == "mean_outputs" else 1.0], dtype=torch.float64, device=device),
        torch.tensor([spec.learning_rate], dtype=torch.float64, device=device),
    )
    return diagnoses(stack, images, first_layer=first_layer)[0]


@torch.no_grad()
def diagnoses(stack: Stack, images: Images, *, first_layer: FirstLayer | None = None) -> Sequence[Mapping[str, float]]:
    """Return the `diagnosis_metrics` of each network of a stack, by name.

    Per layer l, counted from 1, over all its units and all images:
        saturated_fraction.l: the share of σ′(z) below SATURATED_BELOW.
        mean_sigmoid_prime.l: the mean σ′(z).
        gradient_norm.l: ‖∂C/∂W‖ of the cost that is trained, with its reduction.
        update_ratio.l: η ‖∂C/∂W‖ / ‖W‖, the share by which one step on all these images would change the weights.
    Per hidden layer:
        distinct_units.l: the number of units, among the first 2,048, that are not alike to an earlier one.
    Of the output, for each loss of the stack, summed over outputs and averaged over samples, with either reduction:
        output_delta.LOSS: the mean |δ|.
        output_gradient_norm.LOSS: ‖∂C/∂W‖ of the output layer.
        slowdown_factor: the mean |δ| of cross-entropy over that of the quadratic loss; infinite if the latter is 0.
    """
    at_once = max(_MOST_NUMBERS // max(weights.shape[2] for weights in stack.weights) // len(stack.rates), 1)
    parts = (slice(start, min(start + at_once, len(images))) for start in range(0, len(images), at_once))
    first = first_layer or DensePixels(images.pixels)
    sums = reduce(_plus, (_sums(stack, first, images.targets[part], part) for part in parts))
    found = {name: _norm(total) if total.dim() == 3 else total for name, total in sums.items()}
    for layer, (weights, biases) in enumerate(zip(stack.weights, stack.biases, strict=True), start=1):
        found[f"weights.{layer}"] = _norm(weights)
        if layer < len(stack.weights):
            found[f"distinct.{layer}"] = _distinct_units(weights, biases)
    found |= {f"is_own.{loss}": is_own for loss, is_own in stack.losses.items()}
    found |= {"scale": stack.scales, "rate": stack.rates}
    # One copy from the device; the numbers are few enough for plain Python.
    columns = torch.stack([column.double() for column in found.values()]).T.tolist()
    widths = [weights.shape[2] for weights in stack.weights]
    rows = (dict(zip(found, column, strict=True)) for column in columns)
    return [_figures(row, tuple(stack.losses), widths, len(images)) for row in rows]


def _figures(
    found: Mapping[str, float], losses: Sequence[str], widths: Sequence[int], count: int
) -> Mapping[str, float]:
    """Return the metrics of one network from its sums and norms over `count` images."""
    figures, output = {}, len(widths)
    gradients = {layer: found[f"gradient.{layer}"] / count for layer in range(1, output)}
    output_gradients = {loss: found[f"gradient.{loss}"] / count for loss in losses}
    [own] = (loss for loss in losses if found[f"is_own.{loss}"])
    gradients[output] = output_gradients[own]
    for layer, width in enumerate(widths, start=1):
        norm = found["scale"] * gradients[layer]
        figures[f"saturated_fraction.{layer}"] = found[f"saturated.{layer}"] / (width * count)
        figures[f"mean_sigmoid_prime.{layer}"] = found[f"sigmoid_prime.{layer}"] / (width * count)
        figures[f"gradient_norm.{layer}"] = norm
        figures[f"update_ratio.{layer}"] = _ratio(found["rate"] * norm, found[f"weights.{layer}"])
    for layer in range(1, output):
        figures[f"distinct_units.{layer}"] = found[f"distinct.{layer}"]
    for loss, norm in output_gradients.items():
        figures[f"output_delta.{loss}"] = found[f"delta.{loss}"] / (DIGITS * count)
        figures[f"output_gradient_norm.{loss}"] = norm
    figures["slowdown_factor"] = _ratio(found["delta.cross_entropy"], found["delta.quadratic"])
    return figures


def _sums(stack: Stack, first_layer: FirstLayer, targets: Tensor, part: slice) -> dict[str, Tensor]:
    """Return the sums of one part of the images, by name.

    For each layer: the number of saturated units, σ′(z) and ∂C/∂W. For the output: |δ| and ∂C/∂W of each loss. Numbers
    are (lanes,), gradients (lanes, n_out, n_in), of a cost that is summed over outputs and over images. Activations
    here are (lanes, units, samples), which is faster for few units.
    """
    z = first_layer.logits(stack.weights[0], stack.biases[0], part)
    activations, slopes = [], []
    for weights, biases in zip(stack.weights[1:], stack.biases[1:], strict=True):
        a, slope = UNIT.value_and_slope(z)
        activations.append(a)
        slopes.append(slope)
        z = torch.baddbmm(biases.mT, weights.mT, a)
    # Exact where σ(z) is 0 or 1: (lanes, outputs, samples) float64.
    outputs = Outputs.of_labels(z.double(), targets.mT)
    deltas = {loss: loss_named(loss).delta(outputs) for loss in stack.losses}
    slopes.append(outputs.slope)
    found = {}
    for layer, slope in enumerate(slopes, start=1):
        found[f"saturated.{layer}"] = (slope < SATURATED_BELOW).count_nonzero(dim=(1, 2))
        found[f"sigmoid_prime.{layer}"] = slope.sum(dim=(1, 2))

    def gradient(layer: int, delta: Tensor) -> Tensor:
        return delta @ activations[layer - 2].mT if layer > 1 else first_layer.gradient(delta, part)

    output = len(stack.weights)
    for loss, each in deltas.items():
        found[f"delta.{loss}"] = each.abs().sum(dim=(1, 2))
        found[f"gradient.{loss}"] = gradient(output, each.float())
    masks = [is_own[:, None, None] for is_own in stack.losses.values()]
    delta = chosen(list(deltas.values()), masks).float()
    for layer in range(output - 1, 0, -1):
        delta = (stack.weights[layer] @ delta) * slopes[layer - 1]
        found[f"gradient.{layer}"] = gradient(layer, delta)
    return found


def _plus(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: total + other[name] for name, total in one.items()}


def _distinct_units(weights: Tensor, biases: Tensor) -> Tensor:
    """Return the number of distinct units of each network, (lanes,).

    The units have weights (lanes, n_in, n_out) and biases (lanes, 1, n_out).
    """
    units = torch.cat((weights[..., :_MOST_COMPARED], biases[..., :_MOST_COMPARED]), dim=1)
    products = units.mT @ units
    squares = products.diagonal(dim1=1, dim2=2)
    apart = squares[:, :, None] + squares[:, None, :] - 2 * products
    is_alike = apart <= _ALIKE**2 * torch.maximum(squares[:, :, None], squares[:, None, :])
    has_one_before = is_alike.tril(diagonal=-1).any(dim=2)
    distinct: Tensor = (~has_one_before).sum(dim=1)
    return distinct


def _norm(matrices: Tensor) -> Tensor:
    """Return the Frobenius norm of each matrix, (lanes,) float64."""
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), dtype=torch.float64)
    return norms


def _ratio(numerator: float, denominator: float) -> float:
    """Return the ratio; infinite if only the denominator is 0, 0 if both are."""
    if denominator == 0:
        return math.inf if numerator else 0.0
    return numerator / denominator
