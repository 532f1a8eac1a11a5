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
        """Convert pixels (n, width <= 8,191) float32, and labels (n,) int64 in 0 ... 15, on the CPU.

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
        """Copy W (n_in, n_out) and b (n_out,) of each layer, float32, into the network.

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
        """Return the number of images first <= i < last read correctly, and the sum of their costs.

        `logits`, (last - first, outputs) float32, is filled with the logits that the digits were read from.

        Raises:
            IndexError: there are no such images.
            ValueError: `logits` has another shape.
        """

    def first_layer(self, images: SparseImages, first: int, last: int, z: Tensor) -> None:
        """Write the first layer's z of the images first <= i < last into z.

        z is (images, n_out) float32.

        Raises:
            IndexError: there are no such images.
            ValueError: z has another shape.
        """

    def first_gradient(self, images: SparseImages, first: int, last: int, deltas: Tensor, gradient: Tensor) -> None:
        """Write ∂C/∂W of the first layer, summed over the images first <= i < last, into `gradient`.

        `gradient` is (n_in, n_out). `deltas`, (images, n_out), are the δ of these images. Both are float32.

        Raises:
            IndexError: there are no such images.
            ValueError: `deltas` or `gradient` has another shape.
        """
