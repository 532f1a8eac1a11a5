"""scikit-learn's MLPClassifier, which has only cross-entropy.

It gets one-hot rows. With such multi-label targets its outputs are sigmoids, like ours; otherwise they are a softmax.
"""

import numpy as np
from sklearn.neural_network import MLPClassifier

from .task import Layers, Task


class Classifier:
    """A training in which one `partial_fit` is one pass."""

    def __init__(self, task: Task) -> None:
        self.pixels, self.targets = task.pixels, task.targets.astype(np.int64)
        outputs = task.sizes[-1]
        self.passes = task.passes
        self.model = MLPClassifier(
            hidden_layer_sizes=task.sizes[1:-1],
            activation="logistic",
            solver="sgd",
            momentum=0,
            alpha=0,
            batch_size=task.batch_size,
            # Its cost is the sum over the outputs, not the mean.
            learning_rate_init=task.learning_rate / outputs,
            random_state=task.seed,
        )
        # It creates its weights at the first data. Only then can they be replaced with the task's.
        self.model.partial_fit(self.pixels[: task.batch_size], self.targets[: task.batch_size], classes=range(outputs))
        for layer, (weights, biases) in enumerate(zip(task.weights, task.biases, strict=True)):
            self.model.coefs_[layer][:] = weights
            self.model.intercepts_[layer][:] = biases

    def train_epoch(self) -> None:
        for _ in range(self.passes):
            self.model.partial_fit(self.pixels, self.targets)

    def layers(self) -> Layers:
        return [(w.copy(), b.copy()) for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True)]


start = Classifier
