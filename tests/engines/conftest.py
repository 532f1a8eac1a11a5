"""Every engine that trains MNIST here, called alike."""

import importlib
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from workers.engines import autograd, fused_cpu
from workers.engines.base import Report
from workers.training.network import Images, ImageSets

Train = Callable[..., Iterator[Report]]

reference: Train = partial(autograd.train_mnist, device=torch.device("cpu"))


def compiled() -> list:
    """The compiled engine, with each instruction set of this processor."""
    if (why := fused_cpu.why_missing()) is not None:
        return [pytest.param(None, marks=pytest.mark.skip(why))]
    return [
        pytest.param(partial(fused_cpu.train_mnist, instruction_set=name), id=f"{fused_cpu.NAME}-{name}")
        for name in fused_cpu.instruction_sets()
    ]


@pytest.fixture(params=[pytest.param(reference, id=autograd.NAME), *compiled()])
def train(request) -> Train:
    return request.param


@pytest.fixture(scope="module")
def device() -> torch.device:
    """A CUDA device, or the CPU, where tests/conftest.py asks for Triton's interpreter."""
    # It imports Triton, and torch imports it in the tests of other modules: in whatever order they run, it is the same.
    importlib.import_module("torch._dynamo")
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def few(images, device) -> ImageSets:
    """All images to train on, a few to evaluate with."""

    def first(part: Images, count: int) -> Images:
        return Images(*(each[:count].to(device) for each in (part.pixels, part.labels, part.targets)))

    return ImageSets(first(images.train, len(images.train)), first(images.validation, 100), first(images.test, 200))
