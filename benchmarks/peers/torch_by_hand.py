"""PyTorch without autograd: a handwritten backward pass and updates in place."""

import torch

from .task import Layers, Task


class ByHand:
    """Handwritten backpropagation.

    Source: Nielsen, Neural Networks and Deep Learning, ch. 2, eqs. BP1-BP4.
    """

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        self.pixels, self.targets = torch.from_numpy(task.pixels), torch.from_numpy(task.targets)
        self.passes, self.batch_size = task.passes, task.batch_size
        # The step length contains the division of the mean over batch and outputs.
        self.step_length = task.learning_rate / (task.batch_size * task.sizes[-1])
        self.weights = [torch.tensor(weights) for weights in task.weights]
        self.biases = [torch.tensor(biases) for biases in task.biases]

    @torch.no_grad()
    def train_epoch(self) -> None:
        for _ in range(self.passes):
            for batch in torch.randperm(len(self.pixels)).split(self.batch_size):
                activations = [self.pixels[batch]]
                for weights, biases in zip(self.weights, self.biases, strict=True):
                    activations.append(torch.addmm(biases, activations[-1], weights).sigmoid_())
                delta = activations[-1] - self.targets[batch]
                for layer in reversed(range(len(self.weights))):
                    weights, a = self.weights[layer], activations[layer]
                    below = (delta @ weights.T).mul_(a).mul_(1 - a) if layer else None
                    weights.addmm_(a.T, delta, alpha=-self.step_length)
                    self.biases[layer].sub_(delta.sum(dim=0), alpha=self.step_length)
                    delta = below

    def layers(self) -> Layers:
        return [(w.numpy().copy(), b.numpy().copy()) for w, b in zip(self.weights, self.biases, strict=True)]


start = ByHand
