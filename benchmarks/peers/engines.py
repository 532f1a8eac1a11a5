"""Our own engines, called as a worker calls them.

Each epoch ends with an evaluation, or is trained without it.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from numpy.typing import NDArray

from costcurve.core.spec import DIGITS, MnistSpec
from workers.engines import autograd, fused_cpu
from workers.training.network import Images, ImageSets

from .task import Array, Layers, Task, Unavailable

# More epochs than any benchmark trains: the job never ends.
EPOCHS = 10_000


class Job:
    """A job with the task's spec.

    Without evaluation, only one image of each kind is evaluated after an epoch.
    """

    def __init__(self, task: Task, engine: str, *, evaluate: bool) -> None:
        spec = MnistSpec(
            experiment="mnist",
            layers=tuple(task.sizes),
            batch_size=task.batch_size,
            steps_per_epoch=task.steps,
            epochs=EPOCHS,
            learning_rate=task.learning_rate,
            seed=task.seed,
        )
        evaluated = None if evaluate else 1
        images = ImageSets(
            train=_images(task.pixels, task.labels),
            validation=_images(task.validation_pixels[:evaluated], task.validation_labels[:evaluated]),
            test=_images(task.test_pixels[:evaluated], task.test_labels[:evaluated]),
        )
        self._reports = (
            fused_cpu.train_mnist(spec, images)
            if engine == fused_cpu.NAME
            else autograd.train_mnist(spec, images, device=torch.device("cpu"))
        )
        self._layers = len(task.weights)

    def train_epoch(self) -> None:
        self._report = next(report for report in self._reports if len(report.curve))

    def layers(self) -> Layers:
        tensors = self._report.snapshot().tensors
        return [(tensors[f"weights.{n}"].numpy(), tensors[f"biases.{n}"].numpy()) for n in range(1, self._layers + 1)]


def start(task: Task, engine: str, what: str = "epochs") -> Job:
    """Return a job on this engine.

    Args:
        task: the task to train.
        engine: name of the engine.
        what: "epochs", or "steps" for epochs without evaluation.

    Raises:
        Unavailable: the engine was not compiled.
    """
    if engine == fused_cpu.NAME and (reason := fused_cpu.why_missing()) is not None:
        raise Unavailable(reason)
    return Job(task, engine, evaluate=what == "epochs")


def _images(pixels: Array, labels: NDArray[np.int64]) -> Images:
    digits = torch.from_numpy(labels)
    return Images(torch.from_numpy(pixels), digits, F.one_hot(digits, DIGITS).to(torch.float32))
