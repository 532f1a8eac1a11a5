"""Shapes for which fused_cpu is faster than the reference engine.

They are measured with each instruction set and batch size.
"""

from collections.abc import Iterator
from itertools import pairwise
from time import perf_counter

import record
import torch
from engines import CPU, compiled, first, load_images, mnist

from costcurve.core.spec import MnistSpec
from workers.engines import autograd, fused_cpu
from workers.engines.base import Report
from workers.training.network import ImageSets

LAYERS = (
    [784, 10],
    [784, 30, 10],
    [784, 1000, 10],
    [784, 5000, 10],
    [784, *[30] * 11, 10],
    [784, 40, 40, 10],
    [784, 65, 65, 10],
    [784, 100, 100, 10],
    [784, 300, 300, 10],
    [784, 700, 700, 10],
    [784, 1000, 1000, 10],
    [784, *[500] * 8, 10],
)
BATCH_SIZES = (1, 10, 100, 1000)
# Minimum seconds for which one engine trains one shape with one batch size; sets the length of the epoch.
SECONDS = 0.4


def main() -> None:
    """Time an epoch of each shape, and write the record.

    There is one image of each kind to evaluate.
    """
    torch.set_num_threads(1)
    every = load_images()
    images = ImageSets(every.train, first(every.validation), first(every.test))
    names = fused_cpu.instruction_sets()
    rows = []
    for layers in LAYERS:
        dense = sum(n_in * n_out for n_in, n_out in pairwise(layers[1:]))
        for batch_size in BATCH_SIZES:
            row = measured(layers, batch_size, images, names)
            rows.append([shown(layers), f"{dense:,}", f"{batch_size:,}", *row])
            print(" ".join(rows[-1]), flush=True)
    text = [
        "One job in one process, one thread; an epoch of about half a second, without evaluation.",
        f"Speedup of fused_cpu over autograd by instruction set, best of two runs. ({compiled()})",
        "",
        *record.table(["layers", "weights after the first layer", "batch size", "autograd, µs per step", *names], rows),
    ]
    record.write("shapes", "Shapes for fused_cpu", text)


def measured(layers: list[int], batch_size: int, images: ImageSets, names: list[str]) -> list[str]:
    """Return microseconds per step of the reference, and the speedups.

    There is one speedup per instruction set.
    """
    epoch(reference(layers, batch_size, 1, images))
    steps = 1
    while (took := epoch(reference(layers, batch_size, steps, images))) < SECONDS and steps < 1 << 16:
        steps = max(2 * steps, int(steps * SECONDS / took))
    own = min(epoch(reference(layers, batch_size, steps, images)) for _ in range(2))
    ratios = []
    for name in names:
        spec = spec_of(layers, batch_size, steps)
        best = min(epoch(fused_cpu.train_mnist(spec, images, instruction_set=name)) for _ in range(2))
        ratios.append(f"{own / best:.1f}")
    return [f"{own / steps * 1e6:,.0f}", *ratios]


def reference(layers: list[int], batch_size: int, steps: int, images: ImageSets) -> Iterator[Report]:
    """Train with the reference engine; return its reports."""
    return autograd.train_mnist(spec_of(layers, batch_size, steps), images, device=CPU)


def spec_of(layers: list[int], batch_size: int, steps: int) -> MnistSpec:
    """Return a spec with one epoch of `steps` steps."""
    return mnist(layers=layers, batch_size=batch_size, steps_per_epoch=steps)


def epoch(reports: Iterator[Report]) -> float:
    """Return the seconds that these reports take."""
    started = perf_counter()
    for _ in reports:
        pass
    return perf_counter() - started


def shown(layers: list[int]) -> str:
    """Return the layer sizes as a short text."""
    hidden = layers[1:-1]
    if len(hidden) > 3 and len(set(hidden)) == 1:
        return f"784, {len(hidden)} × {hidden[0]}, 10"
    return ", ".join(str(size) for size in layers)


if __name__ == "__main__":
    main()
