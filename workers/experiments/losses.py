"""The two costs, from logits: no σ is ever inverted and no log of 0 is ever taken, at any input."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from torch import Tensor

from jobs.spec import Loss, Reduction


def cost(z: Tensor, y: Tensor, *, loss: Loss, reduction: Reduction) -> Tensor:
    """The cost of a batch, a scalar.

    Args:
        z: logits of the output layer, (samples, outputs); the output is a = σ(z).
        y: targets in 0 … 1, of z's shape.
        loss: ½ (a − y)² for each output, or −[y ln a + (1−y) ln(1−a)], in nats.
        reduction: outputs summed, or averaged; samples are averaged always.

    Source: Nielsen, Neural Networks and Deep Learning, eqs. 6 and 63.
    """
    each = costs(z, y, loss=loss)
    return each.sum(dim=1).mean() if reduction == "sum_outputs" else each.mean()


def costs(z: Tensor, y: Tensor, *, loss: Loss) -> Tensor:
    """The cost of each output by itself, of z's shape; y, the targets, may be broadcast to it."""
    if loss == "quadratic":
        return 0.5 * (torch.sigmoid(z) - y) ** 2
    return F.binary_cross_entropy_with_logits(z, y.expand_as(z), reduction="none")
