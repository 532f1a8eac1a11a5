"""Training images of MNIST on which forecasts are made: a hundred, stored with the package.

`python -m workers.training.datasets.forecast_sample` makes the file.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costcurve.core.spec import DIGITS

FILE = "mnist_sample.npz"


@dataclass(frozen=True, slots=True)
class Sample:
    """Images with their one-hot targets.

    Pixels are (n, 784) float32 in 0 … 1, targets (n, 10) float32.
    """

    pixels: NDArray[np.float32]
    targets: NDArray[np.float32]

    @classmethod
    def of(cls, images: NDArray[Any], labels: NDArray[Any]) -> "Sample":
        """Return the sample of these bytes (n, 784) and digits (n,)."""
        return cls(images.astype(np.float32) / np.float32(255), np.eye(DIGITS, dtype=np.float32)[labels])


@cache
def stored_sample() -> Sample:
    """Return the stored training images."""
    with files(__package__).joinpath(FILE).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return Sample.of(arrays["images"], arrays["labels"])
