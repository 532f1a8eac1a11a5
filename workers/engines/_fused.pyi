"""The compiled part of the engine fused_cpu; its source is in workers/engines/native/."""

from typing import Final

from torch import Tensor

# Rows of weights and biases are padded with zeros to a multiple of this many floats.
LANES: Final[int]
# Names the source of the kernel.
SOURCE: Final[str]

def instruction_sets() -> list[str]:
    """Those with compiled code that this processor can run, the fastest first."""

class SparseImages:
    """Images without their zero pixels."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        """From pixels (n, width) float32, width <= 65,536, and labels (n,) int64 in 0 ... 15, on the CPU."""

    def __len__(self) -> int: ...

class TrainedNetwork:
    """A sigmoid network in the caller's own tensors, which are changed in place."""

    def __init__(
        self, layers: list[tuple[Tensor, Tensor]], sizes: list[int], loss: str, mean_outputs: bool, isa: str
    ) -> None:
        """From W (n_in, padded n_out) and b (padded n_out,) of each layer, float32, 64-byte aligned, zero where padded.

        Args:
            layers: 1 to 16 of them.
            sizes: units of every layer from the input on; at most 16 outputs.
            loss: "quadratic" or "cross_entropy".
            mean_outputs: whether outputs are averaged, or summed.
            isa: one of `instruction_sets()`.

        Raises:
            ValueError: they do not fit each other.
        """

    def train(self, images: SparseImages, batches: Tensor, learning_rate: float, cost_sum: float) -> float:
        """One SGD step for each row of image numbers, (steps, batch_size) int64; the GIL is released meanwhile.

        Returns:
            cost_sum plus the cost of each minibatch before its update.

        Raises:
            IndexError: there is no such image.
        """

    def evaluate(self, images: SparseImages, first: int, last: int) -> tuple[int, float]:
        """Of the images first <= i < last: how many are read correctly, and the sum of their costs."""
