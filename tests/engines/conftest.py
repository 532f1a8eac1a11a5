"""Every engine that trains MNIST here, called alike."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from workers.engines import autograd, fused_cpu
from workers.engines.base import Report

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
