"""Measurement of one base in a process of the benchmark's pool."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from engines import load_images

from benchmarks.diagnosis.cases import Case, measured, runs_of, swept
from benchmarks.diagnosis.generator import Half
from workers.training.network import ImageSets

_images: list[ImageSets] = []


def prepare(trains: bool) -> None:
    """Load MNIST once in each process, if it trains."""
    torch.set_num_threads(1)
    if trains:
        _images.append(load_images())


def cases_of(folder: Path, half: Half, number: int, *, trains: bool) -> Sequence[Case]:
    """Return the cases of one base; none if it is no base, or if it is not wholly kept and must not train."""
    runs = runs_of(folder, half, number, _images[0] if trains else None)
    try:
        return list(measured(swept(half, number, runs), runs))
    except LookupError:
        return []
