"""PyTorch with torch.compile: one compiled function per step.

The function includes the gradient and the update.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from .task import Layers, Task, Unavailable


class Compiled:
    """A training compiled by inductor for exactly this network and batch size."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        self.pixels, self.targets = torch.from_numpy(task.pixels), torch.from_numpy(task.targets)
        self.passes, self.batch_size = task.passes, task.batch_size
        self.learning_rate = task.learning_rate
        self.network = [
            (torch.tensor(weights), torch.tensor(biases))
            for weights, biases in zip(task.weights, task.biases, strict=True)
        ]
        self.step = torch.compile(self._step, fullgraph=True, dynamic=False)
        copies = [(weights.clone(), biases.clone()) for weights, biases in self.network]
        try:
            self.step(copies, torch.arange(task.batch_size))
        except BackendCompilerFailed as error:
            raise Unavailable(f"torch.compile: {error.inner_exception}") from error

    def _cost(self, network: list[tuple[Tensor, Tensor]], x: Tensor, y: Tensor) -> Tensor:
        for weights, biases in network[:-1]:
            x = torch.sigmoid(x @ weights + biases)
        weights, biases = network[-1]
        return F.binary_cross_entropy_with_logits(x @ weights + biases, y)

    def _step(self, network: list[tuple[Tensor, Tensor]], batch: Tensor) -> None:
        gradients = torch.func.grad(self._cost)(network, self.pixels[batch], self.targets[batch])
        for layer, its_gradients in zip(network, gradients, strict=True):
            for parameter, gradient in zip(layer, its_gradients, strict=True):
                parameter.sub_(gradient, alpha=self.learning_rate)

    def train_epoch(self) -> None:
        for _ in range(self.passes):
            for batch in torch.randperm(len(self.pixels)).split(self.batch_size):
                self.step(self.network, batch)

    def layers(self) -> Layers:
        return [(weights.numpy().copy(), biases.numpy().copy()) for weights, biases in self.network]


start = Compiled
