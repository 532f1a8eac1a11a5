"""NumPy in float32 with a handwritten backward pass and updates in place."""

import numpy as np

from .task import Layers, Task


class ByHand:
    """Handwritten backpropagation.

    Source: Nielsen, Neural Networks and Deep Learning, ch. 2, eqs. BP1-BP4.
    """

    def __init__(self, task: Task) -> None:
        self.random = np.random.default_rng(task.seed)
        self.pixels, self.targets = task.pixels, task.targets
        self.passes, self.batch_size = task.passes, task.batch_size
        # The step length contains the division of the mean over batch and outputs.
        self.step_length = np.float32(task.learning_rate / (task.batch_size * task.sizes[-1]))
        self.weights = [weights.copy() for weights in task.weights]
        self.biases = [biases.copy() for biases in task.biases]

    def train_epoch(self) -> None:
        for _ in range(self.passes):
            for batch in self.random.permutation(len(self.pixels)).reshape(-1, self.batch_size):
                activations = [self.pixels[batch]]
                for weights, biases in zip(self.weights, self.biases, strict=True):
                    activations.append(1 / (1 + np.exp(-(activations[-1] @ weights + biases))))
                delta = activations[-1] - self.targets[batch]
                for layer in reversed(range(len(self.weights))):
                    weights, a = self.weights[layer], activations[layer]
                    below = (delta @ weights.T) * a * (1 - a) if layer else None
                    delta *= self.step_length
                    weights -= a.T @ delta
                    self.biases[layer] -= delta.sum(axis=0)
                    delta = below

    def layers(self) -> Layers:
        return [(w.copy(), b.copy()) for w, b in zip(self.weights, self.biases, strict=True)]


start = ByHand
