"""The plain PyTorch loop of the tutorials, with a DataLoader.

It uses Dataset, DataLoader, nn.Module, autograd and torch.optim.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from .task import Layers, Task


class Network(nn.Module):
    """A fully connected sigmoid network that returns the logits of its outputs."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.linears = nn.ModuleList(
            nn.Linear(n_in, n_out) for n_in, n_out in zip(task.sizes, task.sizes[1:], strict=False)
        )
        with torch.no_grad():
            for linear, weights, biases in zip(self.linears, task.weights, task.biases, strict=True):
                linear.weight.copy_(torch.from_numpy(weights).T)
                linear.bias.copy_(torch.from_numpy(biases))

    def forward(self, x: Tensor) -> Tensor:
        for linear in self.linears[:-1]:
            x = torch.sigmoid(linear(x))
        return self.linears[-1](x)

    def layers(self) -> Layers:
        """Return copies of the current weights and biases."""
        return [
            (linear.weight.detach().numpy().T.copy(), linear.bias.detach().numpy().copy()) for linear in self.linears
        ]


class WithDataLoader:
    """A training with batches from a DataLoader."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        self.passes = task.passes
        dataset = TensorDataset(torch.from_numpy(task.pixels), torch.from_numpy(task.targets))
        self.batches = DataLoader(dataset, batch_size=task.batch_size, shuffle=True)
        self.network = Network(task)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=task.learning_rate)

    def train_epoch(self) -> None:
        for _ in range(self.passes):
            for x, y in self.batches:
                self.optimizer.zero_grad()
                loss = F.binary_cross_entropy_with_logits(self.network(x), y)
                loss.backward()
                self.optimizer.step()

    def layers(self) -> Layers:
        return self.network.layers()


start = WithDataLoader
