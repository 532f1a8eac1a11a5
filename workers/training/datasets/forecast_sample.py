"""Program that stores the training images on which forecasts are made: the first hundred.

`python -m workers.training.datasets.forecast_sample` writes them into the package costcurve.
"""

import os
import sys
from pathlib import Path

import numpy as np

from costcurve.analysis.forecast import sample
from workers.training.datasets.mnist import Mnist, default_cache_dir, load_mnist

COUNT = 100
PATH = Path(sample.__file__).with_name(sample.FILE)


def write(mnist: Mnist, path: Path) -> None:
    """Write the first COUNT training images, as bytes, and their digits to a compressed .npz file."""
    np.savez_compressed(path, images=mnist.train_images[:COUNT], labels=mnist.train_labels[:COUNT])


if __name__ == "__main__":
    folder = os.environ.get("COSTCURVE_DATA_DIR")
    write(load_mnist(data_dir=Path(folder) if folder else None, cache_dir=default_cache_dir()), PATH)
    sys.stdout.write(f"wrote {PATH}, {PATH.stat().st_size:,} bytes\n")
