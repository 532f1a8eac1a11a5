"""How a network whose training has ended reads the test images: what it takes for what, and where it errs worst."""

from dataclasses import dataclass

import torch
from torch import Tensor

from costcurve.core.model_file import Confusion, Mistake
from costcurve.core.spec import DIGITS, Loss
from workers.training.losses import costs
from workers.training.network import Evaluation, Images, Network

# The worst mistakes that are kept with a model.
MISTAKES = 64


@dataclass(frozen=True, slots=True)
class FinalNetwork:
    """A network as its training ended, on the CPU, and how it reads the test images."""

    network: Network
    confusion: Confusion
    mistakes: tuple[Mistake, ...]


@torch.no_grad()
def final_network(network: Network, images: Images, evaluation: Evaluation, *, loss: Loss) -> FinalNetwork:
    """What is to be kept of a network: a copy of it, and how it reads these images.

    Args:
        network: the layers, on any device.
        images: the test images, on any device.
        evaluation: what the network made of just these images. Each is read as it was there, to the last bit, so that
            the confusion matrix and the number of images read correctly can't contradict each other.
        loss: by which the mistakes are ordered, the worst first; of equally bad ones the one with the lower number.
    """
    z, labels, targets = (tensor.cpu() for tensor in (evaluation.logits, images.labels, images.targets))
    predictions = z.argmax(dim=1)
    counts = torch.bincount(DIGITS * labels + predictions, minlength=DIGITS * DIGITS).reshape(DIGITS, DIGITS)
    wrong = (predictions != labels).nonzero().squeeze(dim=1)
    each = costs(z[wrong].double(), targets[wrong].double(), loss=loss).sum(dim=1)
    order = each.argsort(descending=True, stable=True)[:MISTAKES]
    worst = wrong[order]
    columns = (worst, labels[worst], predictions[worst], each[order], z[worst].double().sigmoid())
    pixels = images.pixels[worst.to(images.pixels.device)].cpu().mul(255).round().to(torch.uint8)
    mistakes = [
        Mistake(image, label, prediction, cost, tuple(outputs), pixels[place].numpy().tobytes())
        for place, (image, label, prediction, cost, outputs) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]
    copied = [(_copy(weights), _copy(biases)) for weights, biases in network]
    return FinalNetwork(copied, tuple(map(tuple, counts.tolist())), tuple(mistakes))


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
