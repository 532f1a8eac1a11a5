"""What the benchmarks compare with trains the very network that we train; those that need no library of their own."""

import os
from importlib import import_module

import numpy as np
import pytest

from benchmarks.peers import engines
from benchmarks.peers.contender import Contender
from benchmarks.peers.task import Task, accuracy
from jobs.spec import MnistSpec
from workers.experiments.inits import initial_layers

STEPS = 200
PEERS = ["dataloader", "no_dataloader", "torch_by_hand", "numpy_by_hand"]


def task_of(images, count: int, *, passes: int, hidden: tuple[int, ...] = (30,)) -> Task:
    """Batches of 100 of the first `count` training images."""
    spec = MnistSpec(experiment="mnist", layers=(784, *hidden, 10))
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
        batch_size=100,
        passes=passes,
        learning_rate=spec.learning_rate,
        seed=spec.seed,
    )


def joined(layers) -> np.ndarray:
    return np.concatenate([part.ravel() for layer in layers for part in layer])


@pytest.mark.parametrize("hidden", [(30,), (20, 15)])
@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_takes_the_steps_of_the_reference(images, peer, hidden):
    # All images are one batch, so that their order makes no difference.
    task = task_of(images, 100, passes=STEPS, hidden=hidden)
    found = import_module(f"benchmarks.peers.{peer}").start(task)
    expected = engines.start(task, "autograd")
    found.train_epoch()
    expected.train_epoch()
    weights, reference = joined(found.layers()), joined(expected.layers())

    assert np.linalg.norm(reference - joined(zip(task.weights, task.biases, strict=True))) > 1
    assert np.linalg.norm(weights - reference) / np.linalg.norm(reference) < 1e-5


def test_a_peer_in_a_process_of_its_own_learns_as_here(images, tmp_path):
    task = task_of(images, 1000, passes=20)
    task.save(tmp_path / "task.npz")
    here = import_module("benchmarks.peers.numpy_by_hand").start(task)
    before = accuracy(here.layers(), task.test_pixels, task.test_labels)
    here.train_epoch()
    with Contender(tmp_path / "task.npz", min(os.sched_getaffinity(0)), "numpy_by_hand") as contender:
        seconds, reached = contender.train()

    assert seconds > 0
    assert before < 0.3 < reached
    assert reached == pytest.approx(accuracy(here.layers(), task.test_pixels, task.test_labels), abs=0.002)
