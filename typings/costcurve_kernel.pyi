"""Compiled part of the engine fused_cpu; its source is in workers/engines/native/."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor

# Digest of the kernel's source.
SOURCE: Final[str]

def instruction_sets() -> list[str]:
    """Return the compiled instruction sets that this processor can run, fastest first."""

class SparseImages:
    """Images stored without their zero pixels."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        """Convert pixels and labels, both on the CPU.

        Pixels are (n, width <= 8,191) float32. Labels are (n,) int64 in 0 ... 15.

        Raises:
            ValueError: pixels are not bytes divided by 255, or labels are out of range.
        """

    def __len__(self) -> int: ...

class TrainedNetwork:
    """A sigmoid network in training. Call `load` before all else."""

    def __init__(self, sizes: Sequence[int], loss: str, mean_outputs: bool, isa: str) -> None:
        """Create a network without parameters.

        Args:
            sizes: units of every layer from the input on, for 1 to 16 layers; at most 16 outputs.
            loss: "quadratic" or "cross_entropy".
            mean_outputs: True to average over outputs, False to sum.
            isa: one of `instruction_sets()`.

        Raises:
            ValueError: the arguments do not fit each other.
        """

    def load(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Copy W (n_in, n_out) and b (n_out,) of each layer into the network.

        All are float32.

        Raises:
            ValueError: they do not fit the network.
        """

    def save(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write W and b of each layer into these tensors.

        Raises:
            ValueError: they do not fit the network.
        """

    def train(self, images: SparseImages, batches: Tensor, learning_rate: float, costs: Tensor) -> None:
        """Make one SGD step for each row of image numbers, (steps, batch_size) int64.

        The GIL is released meanwhile. `costs`, (steps,) float64, is filled with the cost of each minibatch before its
        update.

        Raises:
            IndexError: there is no such image.
            ValueError: there are more or fewer costs than steps.
        """

    def evaluate(self, images: SparseImages, first: int, last: int, logits: Tensor) -> tuple[int, float]:
        """Count the images first <= i < last that are read correctly, and sum the costs.

        The costs are those of all these images. `logits`, (last - first, outputs) float32, is filled with the logits
        that the digits were read from.

        Raises:
            IndexError: there are no such images.
            ValueError: `logits` has another shape.
        """

    def first_layer(self, images: SparseImages, first: int, last: int, z: Tensor) -> None:
        """Write the first layer's z, for the images first <= i < last, into `z`.

        `z` is (images, n_out) float32.

        Raises:
            IndexError: there are no such images.
            ValueError: `z` has another shape.
        """

    def first_gradient(self, images: SparseImages, first: int, last: int, deltas: Tensor, gradient: Tensor) -> None:
        """Write the first layer's ∂C/∂W, summed over these images, into `gradient`.

        The images are those with first <= i < last. `deltas`, (images, n_out), are their δ. `gradient` is (n_in,
        n_out). Both are float32.

        Raises:
            IndexError: there are no such images.
            ValueError: `deltas` or `gradient` has another shape.
        """
