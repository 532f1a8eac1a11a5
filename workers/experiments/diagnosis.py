"""How well a network can learn from where it is: what its layers pass on, and what each of the losses would give it.

Names as in Nielsen, Neural Networks and Deep Learning, ch. 2: z the weighted input of a unit, a = σ(z), δ = ∂C/∂z.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from jobs.spec import DIGITS, MnistSpec
from workers.experiments.mlp import Images, ImageSets, Network

_DIAGNOSED = 1000
# A unit that passes on less than this share of what reaches it, σ′(z), is saturated. σ′ is 0.25 at the most.
SATURATED_BELOW = 0.01
# Activations of one layer that are held at once.
_MOST_NUMBERS = 1 << 24
# Two hidden units whose weights and biases differ by less than this share of their own norm do the same.
_ALIKE = 0.01
# Units of a layer that are compared with each other, the first ones: it takes time by the square of their number.
_MOST_COMPARED = 2048


@dataclass(frozen=True, slots=True)
class Stack:
    """Networks of one shape side by side, with what decides their gradients.

    For each layer W (lanes, n_in, n_out) and b (lanes, 1, n_out), float32; `is_quadratic` (lanes,) bool says which loss
    each is trained with, `scales` (lanes,) what a sum over its outputs is multiplied by to give the cost of a sample,
    and `rates` (lanes,) are the learning rates.
    """

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    is_quadratic: Tensor
    scales: Tensor
    rates: Tensor


def diagnosed_images(images: ImageSets) -> Images:
    """Those on which every network is diagnosed: the first training images."""
    return images.train.first(_DIAGNOSED)


def diagnosis(network: Network, images: Images, spec: MnistSpec) -> Mapping[str, float]:
    """The `diagnosis_metrics` of one network on these images, by name."""
    device = images.labels.device
    stack = Stack(
        [weights.detach().unsqueeze(0) for weights, _ in network],
        [biases.detach().reshape(1, 1, -1) for _, biases in network],
        torch.tensor([spec.loss == "quadratic"], device=device),
        torch.tensor([1 / DIGITS if spec.reduction == "mean_outputs" else 1.0], dtype=torch.float64, device=device),
        torch.tensor([spec.learning_rate], dtype=torch.float64, device=device),
    )
    return diagnoses(stack, images)[0]


@torch.no_grad()
def diagnoses(stack: Stack, images: Images) -> Sequence[Mapping[str, float]]:
    """The same of each network of a stack.

    Per layer l, counted from 1, over all its units and all images:
        saturated_fraction.l: the share of σ′(z) below SATURATED_BELOW.
        mean_sigmoid_prime.l: the mean σ′(z).
        gradient_norm.l: ‖∂C/∂W‖, of the cost that is trained, as its reduction has it.
        update_ratio.l: η ‖∂C/∂W‖ / ‖W‖, the share of its weights by which a step on all these images would move them.
    Per hidden layer:
        distinct_units.l: how many of its units, the first 2,048 of them, do not do the same as one before them.
    Of the output, summed over outputs and averaged over samples whatever the reduction, for both losses:
        output_delta.LOSS: the mean |δ|; (a − y) σ′(z) for the quadratic loss, a − y for cross-entropy.
        output_gradient_norm.LOSS: ‖∂C/∂W‖ of the output layer.
        slowdown_factor: the mean |δ| of cross-entropy over that of the quadratic loss; infinite where that is 0.
    """
    at_once = max(_MOST_NUMBERS // max(weights.shape[2] for weights in stack.weights) // len(stack.rates), 1)
    parts = zip(torch.split(images.pixels, at_once), torch.split(images.targets, at_once), strict=True)
    sums = reduce(_Sums.plus, (_sums(stack, pixels, targets) for pixels, targets in parts))
    count, found = len(images), {}
    for layer, weights in enumerate(stack.weights):
        units = weights.shape[2]
        norm = _norm(sums.gradients[layer]) / count
        found[f"saturated_fraction.{layer + 1}"] = sums.saturated[layer] / (units * count)
        found[f"mean_sigmoid_prime.{layer + 1}"] = sums.sigmoid_prime[layer] / (units * count)
        found[f"gradient_norm.{layer + 1}"] = norm
        found[f"update_ratio.{layer + 1}"] = _ratio(stack.rates * norm, _norm(weights))
    for layer, (weights, biases) in enumerate(zip(stack.weights[:-1], stack.biases[:-1], strict=True), start=1):
        found[f"distinct_units.{layer}"] = _distinct_units(weights, biases).double()
    for loss, total in sums.deltas.items():
        found[f"output_delta.{loss}"] = total / (DIGITS * count)
        found[f"output_gradient_norm.{loss}"] = _norm(sums.output_gradients[loss]) / count
    found["slowdown_factor"] = _ratio(sums.deltas["cross_entropy"], sums.deltas["quadratic"])
    columns = torch.stack(list(found.values())).cpu()  # from the device in one go
    return [dict(zip(found, column, strict=True)) for column in columns.T.tolist()]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over images: for each layer of σ′(z), of how many are saturated, of ∂C/∂W; at the output by loss, too.

    Sums of numbers are (lanes,) float64, gradients (lanes, n_out, n_in) float32.
    """

    saturated: list[Tensor]
    sigmoid_prime: list[Tensor]
    gradients: list[Tensor]
    deltas: dict[str, Tensor]
    output_gradients: dict[str, Tensor]

    def plus(self, other: "_Sums") -> "_Sums":
        """The sums of both."""
        return _Sums(
            [one + more for one, more in zip(self.saturated, other.saturated, strict=True)],
            [one + more for one, more in zip(self.sigmoid_prime, other.sigmoid_prime, strict=True)],
            [one + more for one, more in zip(self.gradients, other.gradients, strict=True)],
            {loss: one + other.deltas[loss] for loss, one in self.deltas.items()},
            {loss: one + other.output_gradients[loss] for loss, one in self.output_gradients.items()},
        )


def _sums(stack: Stack, pixels: Tensor, targets: Tensor) -> _Sums:
    """Of one part of the images. Activations here are (lanes, units, samples): for few units that is the faster way."""
    inputs: list[Tensor] = [pixels.mT.expand(len(stack.rates), -1, -1)]
    logits: list[Tensor] = []
    for weights, biases in zip(stack.weights, stack.biases, strict=True):
        if logits:
            inputs.append(torch.sigmoid(logits[-1]))
        logits.append(torch.baddbmm(biases.mT, weights.mT, inputs[-1]))
    slopes = [torch.sigmoid(z) * torch.sigmoid(-z) for z in logits]
    deltas = _output_deltas(logits[-1], targets.mT)
    own = torch.where(stack.is_quadratic[:, None, None], deltas["quadratic"], deltas["cross_entropy"])
    delta = (own * stack.scales[:, None, None]).float()
    gradients = [delta @ inputs[-1].mT]
    for layer in reversed(range(len(inputs) - 1)):
        delta = (stack.weights[layer + 1] @ delta) * slopes[layer]
        gradients.insert(0, delta @ inputs[layer].mT)
    return _Sums(
        [(slope < SATURATED_BELOW).float().sum(dim=(1, 2)).double() for slope in slopes],
        [slope.sum(dim=(1, 2)).double() for slope in slopes],
        gradients,
        {loss: delta.abs().sum(dim=(1, 2)) for loss, delta in deltas.items()},
        {loss: delta.float() @ inputs[-1].mT for loss, delta in deltas.items()},
    )


def _output_deltas(z: Tensor, y: Tensor) -> dict[str, Tensor]:
    """δ of each loss for one-hot targets, (lanes, outputs, samples) float64: exact where σ(z) rounds to 0 or 1."""
    z = z.double()
    a, rest = torch.sigmoid(z), torch.sigmoid(-z)
    off = torch.where(y == 1, -rest, a)
    return {"quadratic": off * (a * rest), "cross_entropy": off}


def _distinct_units(weights: Tensor, biases: Tensor) -> Tensor:
    """Of each network, (lanes,): by the weights (lanes, n_in, n_out) and biases (lanes, 1, n_out) of its units."""
    units = torch.cat((weights[..., :_MOST_COMPARED], biases[..., :_MOST_COMPARED]), dim=1)
    products = units.mT @ units
    squares = products.diagonal(dim1=1, dim2=2)
    apart = squares[:, :, None] + squares[:, None, :] - 2 * products
    is_alike = apart <= _ALIKE**2 * torch.maximum(squares[:, :, None], squares[:, None, :])
    has_one_before = is_alike.tril(diagonal=-1).any(dim=2)
    distinct: Tensor = (~has_one_before).sum(dim=1)
    return distinct


def _norm(matrices: Tensor) -> Tensor:
    """The Frobenius norm of each, (lanes,) float64."""
    norms: Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2), dtype=torch.float64)
    return norms


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Infinite where only the denominator is 0; nothing in relation to nothing is 0."""
    return torch.where(numerator == 0, torch.zeros_like(numerator), numerator / denominator)
