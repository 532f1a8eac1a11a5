"""Evaluation of a trained network on the test images: confusion matrix and mistakes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from costcurve.core.model_file import Confusion, Mistake
from costcurve.core.spec import DIGITS
from workers.training.activations import UNIT
from workers.training.losses import costs
from workers.training.network import Evaluation, Images, Network

# Number of worst mistakes stored with a model.
MISTAKES = 64


@dataclass(frozen=True, slots=True)
class FinalNetwork:
    """A network on the CPU after its training, with its test results."""

    network: Network
    confusion: Confusion
    mistakes: tuple[Mistake, ...]


@torch.no_grad()
def final_network(network: Network, images: Images, evaluation: Evaluation, *, loss: str) -> FinalNetwork:
    """Return a copy of the network, its confusion matrix and its worst mistakes.

    Args:
        network: the layers, on any device.
        images: the test images, on any device.
        evaluation: the network's evaluation on exactly these images. Its logits give the predictions, to the last bit.
            So the confusion matrix cannot contradict the number of images read correctly.
        loss: orders the mistakes, the highest cost first; of equal costs the lower image number first.
    """
    z, labels, targets = (tensor.cpu() for tensor in (evaluation.logits, images.labels, images.targets))
    predictions = z.argmax(dim=1)
    counts = torch.bincount(DIGITS * labels + predictions, minlength=DIGITS * DIGITS).reshape(DIGITS, DIGITS)
    wrong = (predictions != labels).nonzero().squeeze(dim=1)
    each = costs(z[wrong].double(), targets[wrong].double(), loss=loss).sum(dim=1)
    order = each.argsort(descending=True, stable=True)[:MISTAKES]
    worst = wrong[order]
    columns = (worst, labels[worst], predictions[worst], each[order], UNIT.value(z[worst].double()))
    pixels = images.pixels[worst.to(images.pixels.device)].cpu().mul(255).round().to(torch.uint8)
    mistakes = [
        Mistake(image, label, prediction, cost, tuple(outputs), pixels[place].numpy().tobytes())
        for place, (image, label, prediction, cost, outputs) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]
    copied = [(_copy(weights), _copy(biases)) for weights, biases in network]
    return FinalNetwork(copied, tuple(map(tuple, counts.tolist())), tuple(mistakes))


def least_class_accuracy(images: Images, evaluation: Evaluation) -> float:
    """Return the least share of a digit's images that are read correctly.

    The evaluation is the network's on exactly these images. A digit without images has no share.
    """
    read = images.labels[evaluation.logits.argmax(dim=1) == images.labels]
    counts, right = (torch.bincount(labels, minlength=DIGITS).double() for labels in (images.labels, read))
    return (right / counts)[counts > 0].min().item()


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
