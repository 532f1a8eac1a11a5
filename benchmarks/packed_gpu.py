"""Jobs per second of packed_gpu, compared with fused_cpu on one core.

It also measures how well their weights agree.
"""

import argparse
import sys
from collections.abc import Iterator
from time import perf_counter

import record
import torch
from engines import compiled, load_images, mnist

from costcurve.core.spec import MnistSpec
from workers.engines import fused_cpu
from workers.engines.base import Report
from workers.engines.packed_gpu import engine as packed_gpu
from workers.training.network import Images, ImageSets

# 1, then the number of multiprocessors of an H100 (132) and multiples of it.
LANES = [1, 132, 264, 1056]
AGREEMENT_STEPS = 200


def main() -> int:
    """Train packs of default jobs, and write the record.

    Half of the jobs have each loss. Return 1 if the measurement cannot be done here, else 0.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lanes", type=int, nargs="+", default=LANES)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for why in (packed_gpu.why_missing(device), fused_cpu.why_missing()):
        if why is not None:
            print(f"Nothing was measured: {why}.", file=sys.stderr)
            return 1
    torch.set_num_threads(1)
    on_cpu = load_images()
    on_device = ImageSets(*(moved(part, device) for part in (on_cpu.train, on_cpu.validation, on_cpu.test)))

    seconds_of(together([job(0, epochs=1)], on_device, device))  # compiles the kernel
    alone = [seconds_of(fused_cpu.train_mnist(job(seed, epochs=options.epochs), on_cpu)) for seed in range(2)]
    core = len(alone) / sum(alone)
    rows = [["fused_cpu, one core", "1", f"{1 / core:.2f}", f"{core:.2f}", "1.0"]]
    for lanes in options.lanes:
        specs = [job(lane, epochs=options.epochs) for lane in range(lanes)]
        seconds = seconds_of(together(specs, on_device, device))
        rate = lanes / seconds
        rows.append([packed_gpu.NAME, f"{lanes:,}", f"{seconds:.2f}", f"{rate:.2f}", f"{rate / core:.1f}"])
    worst = max(distances(max(options.lanes), on_cpu, on_device, device))
    text = [
        f"Default MNIST jobs of {options.epochs} epochs, each with its own seed, every second with the quadratic loss. "
        f"Evaluation is included; each pack is timed once. {packed_gpu.NAME} on {packed_gpu.profile(device)}; "
        f"{fused_cpu.NAME} with {compiled()}.",
        "",
        *record.table(["engine", "jobs at once", "seconds", "jobs per second", "speedup over one core"], rows),
        "",
        f"After {AGREEMENT_STEPS} steps, the weights of each of {max(options.lanes):,} lanes differ by at most "
        f"{worst:.1e} (relative) from those of {fused_cpu.NAME}.",
    ]
    record.write("packed_gpu", "Packs of jobs on a GPU", text)
    return 0


def job(number: int, **fields: object) -> MnistSpec:
    """Return the default job, with the two losses by turns."""
    return mnist(seed=number, loss=("cross_entropy", "quadratic")[number % 2], **fields)


def together(specs: list[MnistSpec], images: ImageSets, device: torch.device) -> Iterator[Report]:
    """Train all specs in one pack, by turns as a worker does."""
    lanes = list(packed_gpu.train_pack(specs, images, device=device))
    while lanes:
        for lane in tuple(lanes):
            report = next(lane)
            yield report
            if report.result is not None:
                lanes.remove(lane)


def distances(lanes: int, on_cpu: ImageSets, on_device: ImageSets, device: torch.device) -> Iterator[float]:
    """Yield each lane's distance from fused_cpu after AGREEMENT_STEPS steps.

    The distance of all weights and biases is relative to their norm.
    """
    specs = [job(lane, epochs=2, steps_per_epoch=AGREEMENT_STEPS) for lane in range(lanes)]
    for spec, lane in zip(specs, packed_gpu.train_pack(specs, on_device, device=device), strict=True):
        found, expected = weights_after_one_epoch(lane), weights_after_one_epoch(fused_cpu.train_mnist(spec, on_cpu))
        yield ((found - expected).norm() / expected.norm()).item()


def weights_after_one_epoch(reports: Iterator[Report]) -> torch.Tensor:
    """Return all weights and biases in float64."""
    report = next(report for report in reports if len(report.curve))
    if report.snapshot is None:
        raise ValueError("the report of the first epoch has no snapshot")
    tensors = report.snapshot().tensors
    return torch.cat([tensors[name].flatten().double() for name in sorted(tensors) if "." in name])


def seconds_of(reports: Iterator[Report]) -> float:
    """Return the seconds that a training takes.

    Its reports are dropped one by one, to free the memory of their snapshots.
    """
    started = perf_counter()
    for _report in reports:
        pass
    return perf_counter() - started


def moved(images: Images, device: torch.device) -> Images:
    """Return the images on another device."""
    return Images(images.pixels.to(device), images.labels.to(device), images.targets.to(device))


if __name__ == "__main__":
    sys.exit(main())
