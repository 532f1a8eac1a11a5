"""Our engines and other libraries training the same network on one core.

The record has microseconds per step with one thread. Each contender runs in a process of its own, from the same weights
and with the same images. The contenders take turns of one epoch each. Runs on Linux.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import numpy as np
import record
from engines import compiled, load_images, mnist
from peers.contender import PEERS_PYTHON, Contender
from peers.task import Task, Unavailable

from costcurve.analysis.initializers import initial_layers
from costcurve.core.spec import MnistSpec
from workers.engines import fused_cpu
from workers.training.network import ImageSets

# Contenders, as the arguments of `python -m peers TASK`.
OURS, OUR_STEPS, REFERENCE = "engines fused_cpu", "engines fused_cpu steps", "engines autograd"
NAMES = {
    OURS: "**fused_cpu**, evaluation included",
    OUR_STEPS: "**fused_cpu**, steps only",
    REFERENCE: "**autograd**, evaluation included",
    "engines autograd steps": "**autograd**, steps only",
    "dataloader": "PyTorch with DataLoader",
    "no_dataloader": "PyTorch without DataLoader",
    "scikit_learn": "scikit-learn, `partial_fit`",
    "torch_compile": "`torch.compile`",
    "torch_by_hand": "PyTorch without autograd",
    "numpy_by_hand": "NumPy",
    "jax_scan": "JAX, `jit` of `lax.scan`",
}
ALL = list(NAMES)
SOME = [OURS, OUR_STEPS, REFERENCE, "dataloader", "torch_by_hand", "numpy_by_hand", "jax_scan"]
SHAPES = {
    "[784, 30, 10], batch 10: the default spec": (mnist(), ALL),
    "[784, 100, 10], batch 10": (mnist(layers=[784, 100, 10]), SOME),
    "[784, 30, 30, 10], batch 10": (mnist(layers=[784, 30, 30, 10]), SOME),
    "[784, 30, 10], batch 100": (mnist(batch_size=100), SOME),
}
# Number of training images of every contender: a whole number of batches.
IMAGES = 50_000
# Percentage points of test accuracy: a contender further than this from the reference engine trains another network.
BAND = 2.0
# Epochs in one turn of two trainings at once: long enough to make the start negligible.
EPOCHS_AT_ONCE = 20


@dataclass
class Measured:
    """Seconds of each epoch except the first, and accuracy after each epoch.

    The accuracy is the share of the test images classified correctly.
    """

    seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    unavailable: str | None = None


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if (reason := fused_cpu.why_missing()) is not None:
        raise SystemExit(f"cannot compare: fused_cpu is not available: {reason}")
    if not PEERS_PYTHON.exists():
        raise SystemExit(f"{PEERS_PYTHON} does not exist; `make bench` creates it")
    images = load_images()
    cores = physical_cores()
    text = introduction(images, rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.npz"
        for name, (spec, whose) in SHAPES.items():
            task_of(spec, images).save(path)
            text += ["", f"## {name}", "", *shape(race(path, cores[0], whose, rounds), spec.steps_per_epoch)]
        task_of(mnist(), images).save(path)
        text += ["", "## Two jobs at once on two cores", "", two_at_once(path, cores, rounds)]
    others = subprocess.run([PEERS_PYTHON, "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    record.write(
        "peers",
        "Our engines and other libraries",
        text,
        facts={"versions in the environment of scikit-learn and JAX": ", ".join(others.stdout.split())},
    )


def introduction(images: ImageSets, rounds: int) -> list[str]:
    """Return the text that explains the figures."""
    return [
        f"All contenders train the same network: the same first weights, {IMAGES:,} images in a new order for each "
        "pass, sigmoid in every layer, float32, plain SGD with learning rate 3.0. The cost is the mean of the sigmoid "
        "cross-entropy over outputs and batch. (scikit-learn has only cross-entropy and sums over the outputs, so its "
        "rate is 0.3.) Each contender runs in a process of its own with one thread, all on one core. They take turns "
        "of one epoch of 5,000 steps. The first epoch, in which programs are compiled, is not timed. The figures are "
        f"medians of the other {rounds}.",
        "",
        "*Evaluation included*: after each epoch the engine evaluates the network on the "
        f"{len(images.test):,} test and {len(images.validation):,} validation images, as it does for a job. *Steps "
        "only* and the other libraries do not evaluate. The ratios are the time divided by that of fused_cpu. The last "
        "column has the accuracy on the test images after the first and after the last epoch. The program ends without "
        f"a record if a contender differs from autograd by more than {BAND:g} percentage points after any epoch.",
        "",
        f"fused_cpu: {compiled()}.",
    ]


def physical_cores() -> list[int]:
    """Return the cores that this process may use, the last first.

    Hyperthreads of the same physical core count once.
    """
    found: dict[str, int] = {}
    for core in os.sched_getaffinity(0):
        threads = Path(f"/sys/devices/system/cpu/cpu{core}/topology/core_cpus_list")
        found[threads.read_text() if threads.exists() else str(core)] = core
    return sorted(found.values(), reverse=True)


def task_of(spec: MnistSpec, images: ImageSets) -> Task:
    """Return the spec as a task for every contender."""
    layers = initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
    return Task(
        pixels=images.train.pixels[:IMAGES].numpy(),
        labels=images.train.labels[:IMAGES].numpy(),
        validation_pixels=images.validation.pixels.numpy(),
        validation_labels=images.validation.labels.numpy(),
        test_pixels=images.test.pixels.numpy(),
        test_labels=images.test.labels.numpy(),
        weights=[layer.weights for layer in layers],
        biases=[layer.biases for layer in layers],
        batch_size=spec.batch_size,
        passes=spec.steps_per_epoch * spec.batch_size // IMAGES,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
    )


def race(task: Path, core: int, whose: Sequence[str], rounds: int) -> dict[str, Measured]:
    """Return the figures of every contender.

    Raises:
        SystemExit: a contender trains another network.
    """
    measured = {who: Measured() for who in whose}
    with ExitStack() as stack:
        running = {}
        for who in whose:
            try:
                running[who] = stack.enter_context(Contender(task, core, *who.split()))
            except Unavailable as reason:
                measured[who].unavailable = str(reason)
        for turn in range(rounds + 1):
            for who, contender in running.items():
                seconds, accuracy = contender.train()
                measured[who].accuracies.append(accuracy)
                if turn > 0:
                    measured[who].seconds.append(seconds)
    ensure_alike(measured)
    return measured


def ensure_alike(measured: Mapping[str, Measured]) -> None:
    """End the program unless every contender reaches the reference's accuracy, within BAND."""
    for who, its in measured.items():
        for epoch, (found, expected) in enumerate(zip(its.accuracies, measured[REFERENCE].accuracies, strict=False)):
            if not abs(found - expected) <= BAND / 100:
                raise SystemExit(
                    f"{who} trains another network: after epoch {epoch} its accuracy is {found:.4f}, that of autograd "
                    f"{expected:.4f}; the difference may be at most {BAND / 100:g}"
                )


def shape(measured: Mapping[str, Measured], steps: int) -> list[str]:
    """Return the table and the share of time spent on evaluation."""
    whole, alone = (median(measured[who].seconds) for who in (OURS, OUR_STEPS))
    rows = []
    for who, its in measured.items():
        if its.unavailable is not None:
            rows.append([NAMES[who], f"not measured: {its.unavailable}", *[""] * 4])
            continue
        usual, each = median(its.seconds), sorted(seconds / steps * 1e6 for seconds in its.seconds)
        rows.append(
            [
                NAMES[who],
                f"{usual / steps * 1e6:.1f}",
                f"{each[0]:.1f} … {each[-1]:.1f}",
                f"{usual / whole:.2f}",
                f"{usual / alone:.2f}",
                f"{its.accuracies[0]:.2%} … {its.accuracies[-1]:.2%}",
            ]
        )
    header = ["", "µs per step, median", "min … max", "÷ fused_cpu", "÷ its steps only", "accuracy"]
    return [
        *record.table(header, rows),
        "",
        f"Evaluation takes {1 - alone / whole:.1%} of fused_cpu's time.",
    ]


def two_at_once(task: Path, cores: Sequence[int], rounds: int) -> str:
    """Compare two trainings at once on two cores with one alone."""
    if len(cores) < 2:
        return "Not measured: this program had only one core."
    alone, together = [], []
    with Contender(task, cores[0], *OURS.split()) as one, Contender(task, cores[1], *OURS.split()) as other:
        for turn in range(rounds + 1):
            singly = [each.train(EPOCHS_AT_ONCE)[0] for each in (one, other)]
            for each in (one, other):
                each.begin(EPOCHS_AT_ONCE)
            both = [each.end()[0] for each in (one, other)]
            if turn > 0:
                alone.append(mean(singly))
                together.append(max(both))
    gain = 2 * median(alone) / median(together)
    return (
        f"The default spec with evaluation, {EPOCHS_AT_ONCE} epochs per turn, {rounds} rounds. One job alone takes "
        f"{median(alone):.3f} s (median of the mean of both cores). Two at once, each on its own core, take "
        f"{median(together):.3f} s (median of the slower). The throughput of two is {gain:.2f} times that of one."
    )


if __name__ == "__main__":
    main()
