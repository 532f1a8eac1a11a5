"""The compiled part of the engine fused_cpu; its source is in workers/engines/native/."""

from collections.abc import Sequence
from typing import Final

from torch import Tensor

# Names the source of the kernel.
SOURCE: Final[str]

def instruction_sets() -> list[str]:
    """Those with compiled code that this processor can run, the fastest first."""

class SparseImages:
    """Images without their zero pixels."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        """From pixels (n, width <= 8,191) float32, and labels (n,) int64 in 0 ... 15, on the CPU.

        Raises:
            ValueError: pixels are not bytes divided by 255, or labels are out of range.
        """

    def __len__(self) -> int: ...

class TrainedNetwork:
    """A sigmoid network while it is trained. It begins with `load`."""

    def __init__(self, sizes: Sequence[int], loss: str, mean_outputs: bool, isa: str) -> None:
        """A network without parameters.

        Args:
            sizes: units of every layer from the input on, for 1 to 16 layers; at most 16 outputs.
            loss: "quadratic" or "cross_entropy".
            mean_outputs: whether outputs are averaged, or summed.
            isa: one of `instruction_sets()`.

        Raises:
            ValueError: they do not fit each other.
        """

    def load(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Take over W (n_in, n_out) and b (n_out,) of each layer, float32. ValueError if they do not fit."""

    def save(self, layers: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Write W and b of each layer into these tensors. ValueError if they do not fit."""

    def train(self, images: SparseImages, batches: Tensor, learning_rate: float, costs: Tensor) -> None:
        """One SGD step for each row of image numbers, (steps, batch_size) int64; the GIL is released meanwhile.

        `costs`, (steps,) float64, is filled with the cost of each minibatch before its update.

        Raises:
            IndexError: there is no such image.
            ValueError: there are more or fewer costs than steps.
        """

    def evaluate(self, images: SparseImages, first: int, last: int, logits: Tensor) -> tuple[int, float]:
        """Of the images first <= i < last: how many are read correctly, and the sum of their costs.

        `logits`, (last - first, outputs) float32, is filled with what the digits were read from.

        Raises:
            IndexError: there are no such images.
            ValueError: `logits` has another shape.
        """

    def first_layer(self, images: SparseImages, first: int, last: int, z: Tensor) -> None:
        """The first layer's z of the images first <= i < last, into z (images, n_out) float32.

        Raises:
            IndexError: there are no such images.
            ValueError: z has another shape.
        """

    def first_gradient(self, images: SparseImages, first: int, last: int, deltas: Tensor, gradient: Tensor) -> None:
        """∂C/∂W of the first layer, (n_in, n_out), from these images' δ, (images, n_out), both float32; summed.

        Raises:
            IndexError: there are no such images.
            ValueError: deltas or gradient have another shape.
        """
