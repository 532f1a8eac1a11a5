"""Networks of one shape side by side in memory, and their evaluation.

Widths are rounded up to multiples of 16 with zeros, which training leaves zero. So every network has the same layout
in memory, and a kernel can read whole blocks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from torch import Tensor

from costcurve.analysis.initializers import initial_layers
from costcurve.core.spec import DIGITS, MnistSpec
from costcurve.core.validation import entry_named
from workers.engines.epoch_loop import learning_rate
from workers.training.diagnostics import Stack, diagnoses
from workers.training.losses import NumericLoss, Outputs, loss_named
from workers.training.network import Evaluation, Images, Network

_WIDTH = 16
# The losses that the kernels know: the value of `Networks.quadratic` for each.
_NUMBERS = {"cross_entropy": 0, "quadratic": 1}
# Limits of networks that are multiplied together: enough to fill a device, few enough for its memory.
_MOST_TOGETHER = 64
_MOST_WEIGHTS_TOGETHER = 1 << 22
# Images of one part of an evaluation: bounds its memory at every width.
_EVALUATED_AT_ONCE = 2500


def padded(width: int) -> int:
    """Return the width in memory of a layer with `width` units."""
    return -(-width // _WIDTH) * _WIDTH


def networks_together(layers: Sequence[int]) -> int:
    """Return the fixed number of networks of this shape multiplied in one call.

    It depends on the shape only, not on the number of lanes: a library chooses its algorithm by the number of products,
    and another algorithm may change the last bits.
    """
    fits = _MOST_WEIGHTS_TOGETHER // sum(padded(n_in) * padded(n_out) for n_in, n_out in pairwise(layers))
    together = _MOST_TOGETHER
    while together > max(fits, 1):
        together //= 2
    return together


@dataclass(frozen=True, slots=True)
class Networks:
    """Parameters and training settings of networks of one shape, on one device.

    Each layer has W (lanes, n_in, n_out) and b (lanes, 1, n_out), float32, with padded widths. `rates` (lanes,) float64
    are the learning rates. `scales` (lanes,) float64 multiply a sum over the outputs to give the cost of a sample: 1 or
    1/10. `factors` (lanes,) float32, −η · scale / batch size, turn the derivative of an output's cost into an update.
    `quadratic` (lanes,) int32 is 1 for the quadratic loss and 0 for cross-entropy.
    """

    widths: tuple[int, ...]
    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    rates: Tensor
    factors: Tensor
    scales: Tensor
    quadratic: Tensor

    @classmethod
    def at_their_start(cls, specs: Sequence[MnistSpec], device: torch.device) -> Self:
        """Return one network for each spec, before any update.

        All specs have the same layers and batch size.
        """
        widths, lanes = specs[0].layers, len(specs)
        networks = cls.zeros(widths, lanes, device)
        for lane, spec in enumerate(specs):
            layers = initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
            for (weights, biases), layer in zip(networks.lane(lane), layers, strict=True):
                weights.copy_(torch.from_numpy(layer.weights))
                biases.copy_(torch.from_numpy(layer.biases))
            networks.enter(lane, spec)
        return networks

    @classmethod
    def zeros(cls, widths: tuple[int, ...], lanes: int, device: torch.device) -> Self:
        """Return `lanes` networks with zeros in all tensors."""
        sizes = [padded(width) for width in widths]
        return cls(
            widths,
            [torch.zeros(lanes, n_in, n_out, device=device) for n_in, n_out in pairwise(sizes)],
            [torch.zeros(lanes, 1, n_out, device=device) for n_out in sizes[1:]],
            torch.zeros(lanes, dtype=torch.float64, device=device),
            torch.zeros(lanes, device=device),
            torch.zeros(lanes, dtype=torch.float64, device=device),
            torch.zeros(lanes, dtype=torch.int32, device=device),
        )

    def enter(self, lane: int, phase: MnistSpec) -> None:
        """Train one network with this spec's loss, reduction and learning rate from here on, here and in all copies."""
        rate, scale = learning_rate(phase), 1 / DIGITS if phase.reduction == "mean_outputs" else 1.0
        self.rates[lane] = rate
        self.scales[lane] = scale
        self.factors[lane] = -rate * scale / phase.batch_size
        self.quadratic[lane] = entry_named(_NUMBERS, phase.loss, "loss of packed_gpu")

    def lane(self, lane: int) -> Network:
        """Return one network's layers without padding, as views that can be written to."""
        return [
            (weights[lane, :n_in, :n_out], biases[lane, 0, :n_out])
            for weights, biases, (n_in, n_out) in zip(self.weights, self.biases, pairwise(self.widths), strict=True)
        ]

    def stack(self) -> Stack:
        """Return all networks without padding as a stack of views."""
        sizes = list(pairwise(self.widths))
        return Stack(
            [weights[:, :n_in, :n_out] for weights, (n_in, n_out) in zip(self.weights, sizes, strict=True)],
            [biases[..., :n_out] for biases, (_, n_out) in zip(self.biases, sizes, strict=True)],
            {loss: self.quadratic == number for loss, number in _NUMBERS.items()},
            self.scales,
            self.rates,
        )

    def costs(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the cost of each output of each sample, by its lane's loss, for targets that are all 0 or 1.

        All are (lanes, samples, outputs); y may be broadcast.
        """
        return self._by_loss(lambda loss: loss.cost_of_labels(z, y))

    def deltas(self, z: Tensor, y: Tensor) -> Tensor:
        """Return ∂C/∂z of each output of each sample, like `costs`."""
        outputs = Outputs.of(z, y)
        return self._by_loss(lambda loss: loss.delta(outputs))

    def _by_loss(self, value: Callable[[NumericLoss], Tensor]) -> Tensor:
        quadratic, cross_entropy = (value(loss_named(loss)) for loss in ("quadratic", "cross_entropy"))
        return torch.where(self.quadratic[:, None, None] == 1, quadratic, cross_entropy)

    def copy(self) -> Self:
        """Return a copy that can be trained without changing this object.

        Weights and biases are copied; all other tensors are shared.
        """
        return type(self)(
            self.widths,
            [weights.clone() for weights in self.weights],
            [biases.clone() for biases in self.biases],
            self.rates,
            self.factors,
            self.scales,
            self.quadratic,
        )

    def load(self, source: Self, lanes: Tensor) -> None:
        """Copy these lanes of `source` to the first places here.

        All other places here keep their values.
        """
        for mine, others in self._pairs(source):
            mine[: len(lanes)] = others[lanes]

    def store(self, target: Self, lanes: Tensor) -> None:
        """Copy weights and biases of the first places here to these lanes of `target`."""
        changed = len(self.weights) + len(self.biases)
        for mine, others in self._pairs(target)[:changed]:
            others[lanes] = mine[: len(lanes)]

    def _pairs(self, other: Self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self._tensors(), other._tensors(), strict=True))

    def _tensors(self) -> list[Tensor]:
        return [*self.weights, *self.biases, self.rates, self.factors, self.scales, self.quadratic]


class Evaluator:
    """Evaluation and diagnosis of networks, many in one call."""

    def __init__(self, widths: tuple[int, ...], device: torch.device) -> None:
        self._room = Networks.zeros(widths, networks_together(widths), device)

    def evaluations(self, networks: Networks, lanes: Sequence[int], images: Images) -> list[Evaluation]:
        """Return the evaluation of each lane, equal to the reference engine's except for rounding."""
        found: list[Evaluation] = []
        for count in self._loads(networks, lanes):
            correct, totals, logits = self._evaluate(images)
            triples = list(zip(correct.tolist(), totals.tolist(), logits, strict=True))[:count]
            found += [Evaluation(right, total / len(images), z) for right, total, z in triples]
        return found

    def diagnoses(self, networks: Networks, lanes: Sequence[int], images: Images) -> list[Mapping[str, float]]:
        """Return the `diagnosis_metrics` of each lane (workers/training/diagnostics.py)."""
        found: list[Mapping[str, float]] = []
        for count in self._loads(networks, lanes):
            found += diagnoses(self._room.stack(), images)[:count]
        return found

    def _loads(self, networks: Networks, lanes: Sequence[int]) -> Iterator[int]:
        """Load these lanes in groups as large as fit, and yield each group's size."""
        together = len(self._room.scales)
        for start in range(0, len(lanes), together):
            some = torch.tensor(lanes[start : start + together], device=self._room.scales.device)
            self._room.load(networks, some)
            yield len(some)

    def _evaluate(self, images: Images) -> tuple[Tensor, Tensor, Tensor]:
        """Return the evaluation of every network here, as three tensors.

        They are the images read correctly, the sum of the costs of all images, and the logits.
        """
        room = self._room
        logits = images.targets.new_empty((len(room.scales), *images.targets.shape))
        correct, totals = torch.zeros_like(room.quadratic, dtype=torch.int64), torch.zeros_like(room.scales)
        for start in range(0, len(images), _EVALUATED_AT_ONCE):
            part = slice(start, start + _EVALUATED_AT_ONCE)
            pixels, labels, targets = images.pixels[part], images.labels[part], images.targets[part]
            z = logits[:, part] = forward(room, pixels.expand(len(correct), -1, -1))[-1][..., :DIGITS]
            correct += (z.argmax(dim=2) == labels).sum(dim=1)
            totals += room.costs(z, targets).sum(dim=(1, 2), dtype=torch.float64)
        return correct, totals * room.scales, logits


def forward(networks: Networks, pixels: Tensor) -> list[Tensor]:
    """Return each layer's input, then the logits.

    The first input is the pixels, the others are activations. All are (lanes, samples, padded units).
    """
    inputs = [pixels]
    for weights, biases, width in zip(networks.weights, networks.biases, networks.widths[1:], strict=True):
        z = torch.baddbmm(biases, inputs[-1], weights)
        if len(inputs) < len(networks.weights):
            z = z.sigmoid_()
            z[..., width:].zero_()  # or the padding would learn
        inputs.append(z)
    return inputs
