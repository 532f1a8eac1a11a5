"""Fully connected sigmoid network on MNIST: data on a device, forward pass and evaluation."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from numpy.typing import NDArray
from torch import Tensor

from costcurve.analysis.initializers import initial_layers
from costcurve.core.spec import DIGITS, MnistSpec
from workers.training.activations import UNIT
from workers.training.losses import cost_of_labels

# Rows of one forward pass of an evaluation: bounds its memory at every width.
_EVALUATED_AT_ONCE = 1000

# For each layer W (n_in, n_out) and b (n_out,), float32.
Network = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Images:
    """Images with their labels and one-hot targets, all on one device.

    Pixels are in 0 … 1, (n, 784) float32. Labels are (n,) int64, targets (n, 10) float32.
    """

    pixels: Tensor
    labels: Tensor
    targets: Tensor

    @classmethod
    def on(cls, device: torch.device, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Self:
        """Return images on this device from bytes (n, 784) and digits (n,)."""
        digits = torch.tensor(labels, dtype=torch.int64, device=device)
        scaled = torch.tensor(pixels, dtype=torch.float32, device=device).div_(255)
        return cls(scaled, digits, F.one_hot(digits, DIGITS).to(torch.float32))

    def first(self, count: int) -> Self:
        """Return the first `count` images, not copied."""
        return type(self)(self.pixels[:count], self.labels[:count], self.targets[:count])

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class ImageSets:
    """The three parts of MNIST on one device."""

    train: Images
    validation: Images
    test: Images


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The number of images read correctly, their mean cost, and their logits.

    The cost is that of one image. The logits, (n, 10) float32, gave the predictions.
    """

    correct: int
    cost: float
    logits: Tensor = field(compare=False)


def initial_network(spec: MnistSpec, device: torch.device) -> Network:
    """Return the network before any update; its tensors collect gradients."""
    layers = initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
    return [(_leaf(layer.weights, device), _leaf(layer.biases, device)) for layer in layers]


def logits(network: Network, pixels: Tensor) -> Tensor:
    """Return the output layer's logits z, (n, 10), for pixels (n, 784)."""
    activations = pixels
    for weights, biases in network[:-1]:
        activations = UNIT.value(torch.addmm(biases, activations, weights))
    weights, biases = network[-1]
    return torch.addmm(biases, activations, weights)


def evaluate_in_parts(network: Network, images: Images, spec: MnistSpec) -> Iterator[Evaluation]:
    """Evaluate the network on these images, one part after the other.

    The prediction is the argmax of the outputs, the cost that of the training.

    Yields:
        The evaluation of the images so far, after each part. A part takes a fraction of a second. The last evaluation
        covers all images.
    """
    correct = torch.zeros((), dtype=torch.int64, device=images.pixels.device)
    total = torch.zeros((), dtype=torch.float64, device=images.pixels.device)
    found = torch.empty_like(images.targets)
    for start in range(0, len(images), _EVALUATED_AT_ONCE):
        part = slice(start, start + _EVALUATED_AT_ONCE)
        with torch.no_grad():
            z = found[part] = logits(network, images.pixels[part])
            # σ is monotonic, so the largest logit is the largest output; outputs that round to 1 would tie.
            correct += (z.argmax(dim=1) == images.labels[part]).sum()
            total += len(z) * cost_of_labels(z, images.targets[part], loss=spec.loss, reduction=spec.reduction)
        behind = min(part.stop, len(images))
        yield Evaluation(int(correct), float(total) / behind, found[:behind])


def weights_sha256(network: Network) -> str:
    """Return the SHA-256 of all weights and biases, as hexadecimal digits.

    It covers each layer's W, row by row, then its b, as little-endian float32.
    """
    digest = hashlib.sha256()
    for layer in network:
        for tensor in layer:
            digest.update(tensor.detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _leaf(values: NDArray[Any], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device, requires_grad=True)
