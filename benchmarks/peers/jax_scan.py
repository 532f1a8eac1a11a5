"""JAX, with all steps of a pass in one compiled `lax.scan`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .task import Layers, Task

Network = list[tuple[Array, Array]]


def cost(network: Network, x: Array, y: Array) -> Array:
    """Return the sigmoid cross-entropy from logits, as the mean over batch and outputs."""
    for weights, biases in network[:-1]:
        x = jax.nn.sigmoid(x @ weights + biases)
    weights, biases = network[-1]
    z = x @ weights + biases
    return jnp.mean(jax.nn.softplus(z) - y * z)


@partial(jax.jit, donate_argnums=0)
def train(network: Network, pixels: Array, targets: Array, batches: Array, learning_rate: float) -> Network:
    """Train one step for each row of image numbers, (steps, batch_size)."""

    def step(network: Network, batch: Array) -> tuple[Network, None]:
        gradients = jax.grad(cost)(network, pixels[batch], targets[batch])
        return jax.tree.map(lambda p, g: p - learning_rate * g, network, gradients), None

    return lax.scan(step, network, batches)[0]


class Scan:
    """A training with JAX, in float32 on the CPU."""

    def __init__(self, task: Task) -> None:
        self.random = np.random.default_rng(task.seed)
        self.pixels, self.targets = jnp.asarray(task.pixels), jnp.asarray(task.targets)
        self.passes, self.batch_size = task.passes, task.batch_size
        self.learning_rate = task.learning_rate
        self.network = [(jnp.array(w), jnp.array(b)) for w, b in zip(task.weights, task.biases, strict=True)]

    def train_epoch(self) -> None:
        for _ in range(self.passes):
            batches = self.random.permutation(len(self.pixels)).reshape(-1, self.batch_size)
            network = train(self.network, self.pixels, self.targets, batches, self.learning_rate)
            self.network = jax.block_until_ready(network)

    def layers(self) -> Layers:
        return [(np.array(weights), np.array(biases)) for weights, biases in self.network]


start = Scan
