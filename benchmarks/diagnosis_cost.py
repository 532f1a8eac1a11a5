"""The cost of diagnosing a network, and figures behind its thresholds.

The figures are those of sound and of slow trainings.
"""

import argparse
from collections.abc import Mapping
from statistics import median
from time import process_time
from unittest.mock import patch

import record
import torch
from engines import compiled, load_images, mnist

from costcurve.analysis.diagnosis.network import diagnose_network
from costcurve.analysis.diagnosis.training_course import NetworkCourse, is_stuck
from costcurve.core.curve import Curve, diagnosis_metrics
from costcurve.core.presets import PRESETS
from costcurve.core.spec import MnistSpec
from workers.engines import fused_cpu
from workers.training.network import ImageSets

SHOWN = ("slowdown_factor", "output_delta.cross_entropy", "mean_sigmoid_prime.1", "update_ratio.1", "update_ratio.2")


def main() -> None:
    """Time the default job with and without diagnosis; write the record.

    The record also has the figures of many other trainings.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images = load_images()
    text = [*cost(images, options.repeats), "", *figures(images, options.seeds)]
    record.write("diagnosis_cost", "Diagnosis of a network: cost and figures", text)


def cost(images: ImageSets, repeats: int) -> list[str]:
    """Time the default job, and again with constant diagnosis figures."""
    spec = mnist(epochs=30)
    at_once = dict.fromkeys(diagnosis_metrics(spec), 1.0)
    whole, without = [], []
    for _ in range(repeats):
        whole.append(seconds(spec, images))
        with patch.object(fused_cpu, "diagnosis", lambda *_, **__: at_once):
            without.append(seconds(spec, images))
    share = 1 - median(without) / median(whole)
    return [
        f"The default job, 30 epochs with {fused_cpu.NAME} ({compiled()}), one thread, processor time, median of "
        f"{repeats} runs, interleaved: {median(whole):.3f} s with its 31 diagnoses, {median(without):.3f} s without. "
        f"Diagnosis takes **{share:.1%}** of the time, {1000 * (median(whole) - median(without)) / 31:.2f} ms each.",
    ]


def figures(images: ImageSets, seeds: int) -> list[str]:
    """Return a table of the figures of sound and slow trainings."""
    specs = {name: preset.spec for name, preset in PRESETS.items() if isinstance(preset.spec, MnistSpec)}
    specs |= {f"quadratic, seed {seed}": mnist(loss="quadratic", epochs=30, seed=seed) for seed in range(1, seeds)}
    specs |= {
        "quadratic, seed 9": mnist(loss="quadratic", epochs=30, seed=9),
        "quadratic, 100 hidden units, seed 1": mnist(loss="quadratic", epochs=30, layers=[784, 100, 10], seed=1),
        "cross-entropy, three hidden layers": mnist(epochs=10, layers=[784, 30, 30, 30, 10]),
        "cross-entropy, hidden std 3": mnist(epochs=10, init={"scheme": "normal", "std": [3.0, 1.0]}),
        "cross-entropy, learning rate 0.01": mnist(epochs=10, learning_rate=0.01),
        "zeros": mnist(epochs=10, init="zeros"),
    }
    rows = [[name, *row(course_of(spec, images))] for name, spec in specs.items()]
    header = ["training", "best", "epochs stuck", *(f"{name}: start; min … max" for name in SHOWN), "findings"]
    return record.table(header, rows)


def row(course: NetworkCourse) -> list[str]:
    """Return the table cells of one training."""
    stuck = course.longest(is_stuck)
    shown = []
    for metric in SHOWN:
        values = sorted(point[metric] for point in course.points)
        start = course.start[metric] if course.start is not None else float("nan")
        shown.append(f"{start:.3g}; {values[0]:.3g} … {values[-1]:.3g}")
    found = ", ".join(f"`{finding.code}`" for finding in diagnose_network(course).findings)
    return [
        f"{max(course.accuracies):.2%}",
        "none" if stuck is None else f"{stuck.first} … {stuck.last}",
        *shown,
        found or "none",
    ]


def course_of(spec: MnistSpec, images: ImageSets) -> NetworkCourse:
    """Train with the compiled engine; return the training's course."""
    reports = list(fused_cpu.train_mnist(spec, images))
    start: Mapping[str, float] | None = reports[0].start
    return NetworkCourse.of(spec, start, Curve.joined(each.curve for each in reports), is_over=True)


def seconds(spec: MnistSpec, images: ImageSets) -> float:
    """Train with the compiled engine; return the seconds of processor time that it takes."""
    started = process_time()
    for _report in fused_cpu.train_mnist(spec, images):
        pass
    return process_time() - started


if __name__ == "__main__":
    main()
