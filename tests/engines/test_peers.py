"""What the benchmarks compare with trains the very network that we train; those that need no library of their own."""

from importlib import import_module

import numpy as np
import pytest

from benchmarks.peers import engines
from benchmarks.peers.contender import Contender
from benchmarks.peers.task import Task, accuracy
from costcurve.analysis.initializers import initial_layers
from costcurve.core.spec import MnistSpec

STEPS = 100
PEERS = ["dataloader", "no_dataloader", "torch_by_hand", "numpy_by_hand"]


def task_of(images, count: int, *, batch_size: int, passes: int) -> Task:
    """The first `count` training images."""
    spec = MnistSpec(experiment="mnist", layers=(784, 20, 15, 10))
    layers = initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
    return Task(
        pixels=images.train.pixels[:count].numpy(),
        labels=images.train.labels[:count].numpy(),
        validation_pixels=images.validation.pixels[:10].numpy(),
        validation_labels=images.validation.labels[:10].numpy(),
        test_pixels=images.test.pixels.numpy(),
        test_labels=images.test.labels.numpy(),
        weights=[layer.weights for layer in layers],
        biases=[layer.biases for layer in layers],
        batch_size=batch_size,
        passes=passes,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
    )


def joined(layers) -> np.ndarray:
    return np.concatenate([part.ravel() for layer in layers for part in layer])


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_takes_the_steps_of_the_reference(images, peer):
    # All images are one batch, so that their order makes no difference.
    task = task_of(images, 100, batch_size=100, passes=STEPS)
    found = import_module(f"benchmarks.peers.{peer}").start(task)
    expected = engines.start(task, "autograd")
    found.train_epoch()
    expected.train_epoch()
    weights, reference = joined(found.layers()), joined(expected.layers())

    assert np.linalg.norm(reference - joined(zip(task.weights, task.biases, strict=True))) > 1
    assert np.linalg.norm(weights - reference) / np.linalg.norm(reference) < 1e-5


@pytest.mark.parametrize("module", ["numpy_by_hand", "engines autograd steps"])
def test_a_contender_learns_epoch_by_epoch_in_a_process_of_its_own(images, tmp_path, module):
    task = task_of(images, 2000, batch_size=10, passes=1)
    task.save(tmp_path / "task.npz")
    start = accuracy(list(zip(task.weights, task.biases, strict=True)), task.test_pixels, task.test_labels)

    with Contender(tmp_path / "task.npz", None, *module.split()) as contender:
        (seconds, first), (_, last) = contender.train(), contender.train(epochs=4)

    assert seconds > 0
    assert start < 0.2 < first < 0.5 < last
