"""The plain PyTorch loop without a DataLoader.

Batches are rows of one tensor in random order.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from .dataloader import Network
from .task import Layers, Task


class WithoutDataLoader:
    """A training with batches from a permutation."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        self.pixels, self.targets = torch.from_numpy(task.pixels), torch.from_numpy(task.targets)
        self.passes, self.batch_size = task.passes, task.batch_size
        self.network = Network(task)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=task.learning_rate)

    def train_epoch(self) -> None:
        for _ in range(self.passes):
            for batch in torch.randperm(len(self.pixels)).split(self.batch_size):
                self.optimizer.zero_grad()
                loss = F.binary_cross_entropy_with_logits(self.network(self.pixels[batch]), self.targets[batch])
                loss.backward()
                self.optimizer.step()

    def layers(self) -> Layers:
        return self.network.layers()


start = WithoutDataLoader
