"""Speed of the engines: median microseconds per step, one thread."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import record
import torch

from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec
from workers.engines import autograd, fused_cpu, neuron_pack
from workers.engines.base import Report
from workers.training.datasets.mnist import default_cache_dir, load_mnist
from workers.training.network import Images, ImageSets

CPU = torch.device("cpu")


def main() -> None:
    """Time each case `--repeats` times, interleaved, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    images = load_images()
    specs: dict[str, AnySpec] = {
        "neuron, quadratic": NeuronSpec(experiment="neuron", loss="quadratic", epochs=5000),
        "mnist, quadratic": mnist(loss="quadratic"),
        "mnist, cross_entropy": mnist(loss="cross_entropy"),
        "mnist, [784, 100, 10]": mnist(layers=[784, 100, 10]),
        "mnist, [784, 30, 30, 10]": mnist(layers=[784, 30, 30, 10]),
        "mnist, batch 100": mnist(batch_size=100),
    }
    cases = {
        (name, engine): spec
        for name, spec in specs.items()
        for engine in (autograd.NAME, fused_cpu.NAME if isinstance(spec, MnistSpec) else neuron_pack.NAME)
    }
    seconds: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for _ in range(repeats):
        for (name, engine), spec in cases.items():
            started = perf_counter()
            for _report in reports(spec, images, engine):
                pass
            seconds[name, engine].append(perf_counter() - started)
    rows = []
    for (name, engine), spec in cases.items():
        each = sorted(run / spec.total_steps * 1e6 for run in seconds[name, engine])
        rows.append([name, engine, f"{median(each):.1f}", f"{each[0]:.1f} … {each[-1]:.1f}", f"{spec.total_steps:,}"])
    text = [
        f"One job in one process, one thread, evaluation included; {repeats} runs, interleaved; {fused_cpu.NAME} with "
        f"{compiled()}.",
        "",
        *record.table(["job", "engine", "µs per step, median", "min … max", "steps"], rows),
    ]
    text += ["", share_of_evaluation(images, repeats)]
    record.write("engines", "Speed of the engines", text)


def share_of_evaluation(images: ImageSets, repeats: int) -> str:
    """Measure the share of evaluation in a default job with fused_cpu."""
    spec = mnist(epochs=30)
    one_image = ImageSets(images.train, *(first(part) for part in (images.validation, images.test)))
    whole, without = [], []
    for _ in range(repeats):
        for sets, seconds in ((images, whole), (one_image, without)):
            started = perf_counter()
            for _report in reports(spec, sets, fused_cpu.NAME):
                pass
            seconds.append(perf_counter() - started)
    return (
        f"{fused_cpu.NAME} takes {median(whole):.3f} s for the default job of {spec.epochs} epochs, and "
        f"{median(without):.3f} s with only one validation and one test image. So evaluation takes "
        f"{1 - median(without) / median(whole):.1%} of the time."
    )


def first(images: Images) -> Images:
    """Return only the first image."""
    return Images(images.pixels[:1], images.labels[:1], images.targets[:1])


def mnist(**fields: object) -> MnistSpec:
    """Return the default MNIST spec with one epoch and these changes."""
    return MnistSpec.model_validate({"experiment": "mnist", "epochs": 1, **fields})


def reports(spec: AnySpec, images: ImageSets, engine: str) -> Iterator[Report]:
    """Train the spec with this engine; return the iterator of reports."""
    if isinstance(spec, NeuronSpec) and engine == neuron_pack.NAME:
        return neuron_pack.train_pack([spec], device=CPU)[0]
    if isinstance(spec, NeuronSpec):
        return autograd.train_neuron(spec, device=CPU)
    if engine == fused_cpu.NAME:
        return fused_cpu.train_mnist(spec, images)
    return autograd.train_mnist(spec, images, device=CPU)


def compiled() -> str:
    """Return the instruction set and kernel version of fused_cpu here."""
    return f"{fused_cpu.instruction_sets()[0]}, kernel {fused_cpu.source()}"


def load_images() -> ImageSets:
    """Load MNIST on the CPU."""
    data_dir = os.environ.get("COSTCURVE_DATA_DIR")
    found = load_mnist(data_dir=Path(data_dir) if data_dir else None, cache_dir=default_cache_dir())
    return ImageSets(
        train=Images.on(CPU, found.train_images, found.train_labels),
        validation=Images.on(CPU, found.validation_images, found.validation_labels),
        test=Images.on(CPU, found.test_images, found.test_labels),
    )


if __name__ == "__main__":
    main()
