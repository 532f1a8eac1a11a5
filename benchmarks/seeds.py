"""The article's two MNIST runs with ten seeds on each engine.

The record has the best accuracies and how far the engines' weights drift apart.
"""

import argparse
import math
from collections.abc import Callable, Iterator
from functools import partial
from statistics import mean, median, stdev

import engines
import record
import torch

from costcurve.core.spec import TEST_IMAGES, MnistSpec
from workers.engines import autograd, fused_cpu
from workers.engines.base import Report
from workers.training.network import ImageSets

EPOCHS = 30
LOSSES = ("quadratic", "cross_entropy")

Train = Callable[[MnistSpec, ImageSets], Iterator[Report]]
ENGINES: dict[str, Train] = {
    autograd.NAME: partial(autograd.train_mnist, device=engines.CPU),
    fused_cpu.NAME: fused_cpu.train_mnist,
}


def main() -> None:
    """Train all seeds on all engines, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = range(parser.parse_args().seeds)
    torch.set_num_threads(1)
    images = engines.load_images()
    accuracies, differences, drifts = [], [], []
    for loss in LOSSES:
        best: dict[str, list[int]] = {name: [] for name in ENGINES}
        apart = []
        for seed in seeds:
            weights = {}
            for name, train in ENGINES.items():
                correct, weights[name] = after_all_epochs(train, loss, seed, images)
                best[name].append(correct)
                print(f"{loss}, seed {seed}, {name}: best: {correct} / {TEST_IMAGES}", flush=True)
            apart.append(distance(weights[fused_cpu.NAME], weights[autograd.NAME]))
        accuracies += [accuracy_row(loss, name, correct) for name, correct in best.items()]
        differences.append(difference_row(loss, best[fused_cpu.NAME], best[autograd.NAME]))
        drifts.append([loss, f"{median(apart):.4f}", f"{min(apart):.4f} … {max(apart):.4f}"])
    text = [
        f"{EPOCHS} epochs of the default MNIST spec, seeds {seeds[0]} to {seeds[-1]}; {fused_cpu.NAME} with "
        f"{engines.compiled()}.",
        "",
        "Best test accuracy of a run, in percent:",
        "",
        *record.table(["loss", "engine", "mean", "standard deviation", "min … max"], accuracies),
        "",
        f"Correct images of {TEST_IMAGES:,} at the best epoch, {fused_cpu.NAME} minus {autograd.NAME}, for each seed:",
        "",
        *record.table(["loss", "mean", "standard error of the mean", "min … max"], differences),
        "",
        f"Distance of all weights and biases after {EPOCHS} epochs, relative to their norm:",
        "",
        *record.table(["loss", "median", "min … max"], drifts),
    ]
    record.write("seeds", "Ten seeds on each engine", text)


def after_all_epochs(train: Train, loss: str, seed: int, images: ImageSets) -> tuple[int, torch.Tensor]:
    """Return the best count of correct test images and the final weights.

    The weights are all weights and biases after the last epoch, as one float64 vector.
    """
    # One epoch more than needed: the last report of a training has no snapshot.
    spec = engines.mnist(loss=loss, seed=seed, epochs=EPOCHS + 1)
    correct: list[float] = []
    for report in train(spec, images):
        correct += report.curve.series.get("correct", [])
        if len(correct) == EPOCHS and report.snapshot is not None:
            tensors = report.snapshot().tensors
            parts = [tensors[name] for name in sorted(tensors) if name.startswith(("weights", "biases"))]
            return int(max(correct)), torch.cat([part.flatten().double() for part in parts])
    raise RuntimeError(f"the training ended before {EPOCHS} epochs with a snapshot")


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return |one - other| / |other|."""
    return ((one - other).norm() / other.norm()).item()


def accuracy_row(loss: str, engine: str, correct: list[int]) -> list[str]:
    """Return the mean and the spread of the accuracy, in percent."""
    percent = [100 * count / TEST_IMAGES for count in correct]
    return [loss, engine, f"{mean(percent):.3f}", f"{stdev(percent):.3f}", f"{min(percent):.2f} … {max(percent):.2f}"]


def difference_row(loss: str, ours: list[int], reference: list[int]) -> list[str]:
    """Return the difference of two engines at the same seeds."""
    each = [one - other for one, other in zip(ours, reference, strict=True)]
    error = stdev(each) / math.sqrt(len(each))
    return [loss, f"{mean(each):+.1f}", f"{error:.1f}", f"{min(each):+d} … {max(each):+d}"]


if __name__ == "__main__":
    main()
