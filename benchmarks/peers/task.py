"""The task that every peer trains: images, first weights and hyperparameters.

This module needs only NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
# For each layer W (n_in, n_out) and b (n_out,), float32.
Layers = Sequence[tuple[Array, Array]]


class Unavailable(Exception):
    """A peer is not available on this machine; the message says why."""


class Training(Protocol):
    """A network in training."""

    def train_epoch(self) -> None:
        """Train `passes` more passes over the training images.

        Each pass has a new order of the images, and one step per batch.
        """

    def layers(self) -> Layers:
        """Return the current weights and biases."""


@dataclass(frozen=True)
class Task:
    """A sigmoid network, its images and its hyperparameters.

    It is trained with plain SGD on minibatches. The cost is the sigmoid cross-entropy, as the mean over the images of a
    batch and over the outputs.
    """

    pixels: Array  # (n, 784), 0 … 1; n is a multiple of batch_size
    labels: NDArray[np.int64]  # (n,)
    validation_pixels: Array
    validation_labels: NDArray[np.int64]
    test_pixels: Array
    test_labels: NDArray[np.int64]
    weights: Sequence[Array]  # before the first step, (n_in, n_out) for each layer
    biases: Sequence[Array]  # the same, (n_out,)
    batch_size: int
    passes: int  # over the images, in an epoch
    learning_rate: float
    seed: int  # for the order of the images

    @property
    def sizes(self) -> list[int]:
        """Number of units of each layer, with the input layer first."""
        return [len(self.weights[0]), *(len(biases) for biases in self.biases)]

    @property
    def targets(self) -> Array:
        """One-hot labels, (n, outputs)."""
        return np.eye(len(self.biases[-1]), dtype=np.float32)[self.labels]

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return self.passes * len(self.labels) // self.batch_size

    def save(self, path: Path) -> None:
        """Write the task to a file, for a process that may run another Python."""
        fields = dict(vars(self))
        weights, biases = fields.pop("weights"), fields.pop("biases")
        layers = {f"weights.{n}": part for n, part in enumerate(weights)}
        layers |= {f"biases.{n}": part for n, part in enumerate(biases)}
        np.savez(path, **fields, **layers)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a task from a file written by `save`."""
        with np.load(path) as fields:
            count = sum(name.startswith("weights.") for name in fields.files)
            images = ("pixels", "labels", "validation_pixels", "validation_labels", "test_pixels", "test_labels")
            return cls(
                *(fields[name] for name in images),
                weights=[fields[f"weights.{n}"] for n in range(count)],
                biases=[fields[f"biases.{n}"] for n in range(count)],
                batch_size=int(fields["batch_size"]),
                passes=int(fields["passes"]),
                learning_rate=float(fields["learning_rate"]),
                seed=int(fields["seed"]),
            )


def accuracy(layers: Layers, pixels: Array, labels: NDArray[np.int64]) -> float:
    """Return the share of these images that the network classifies correctly."""
    activations = pixels
    for weights, biases in layers[:-1]:
        with np.errstate(over="ignore"):  # σ of a very negative z is 0
            activations = 1 / (1 + np.exp(-(activations @ weights + biases)))
    weights, biases = layers[-1]
    return float(((activations @ weights + biases).argmax(axis=1) == labels).mean())
