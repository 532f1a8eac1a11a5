"""Costs of sigmoid outputs and their derivatives, from logits, at full relative precision for every z.

No formula subtracts two close numbers unless output and target are close (workers/training/activations.py has the
reason). A loss is an entry here, and one in `costcurve/core/losses.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from torch import Tensor

from costcurve.core.losses import Reduction
from costcurve.core.validation import entry_named
from workers.training.activations import sigmoids


def cost(z: Tensor, y: Tensor, *, loss: str, reduction: Reduction) -> Tensor:
    """Return the cost of a batch, a scalar.

    Args:
        z: logits of the output layer, (samples, outputs); the output is a = σ(z).
        y: targets in 0 … 1, of z's shape.
        loss: name of the loss.
        reduction: sum or mean over the outputs; always the mean over the samples.

    Raises ValueError for an unknown loss.
    """
    return _reduced(costs(z, y, loss=loss), reduction)


def cost_of_labels(z: Tensor, y: Tensor, *, loss: str, reduction: Reduction) -> Tensor:
    """Return the cost of a batch whose targets are all 0 or 1.

    It equals `cost`, with fewer operations.
    """
    return _reduced(costs_of_labels(z, y, loss=loss), reduction)


def costs_of_labels(z: Tensor, y: Tensor, *, loss: str) -> Tensor:
    """Return the cost of each output, for targets that are all 0 or 1. Raises ValueError for an unknown loss."""
    return loss_named(loss).cost_of_labels(z, y)


def _reduced(each: Tensor, reduction: Reduction) -> Tensor:
    return each.sum(dim=1).mean() if reduction == "sum_outputs" else each.mean()


def costs(z: Tensor, y: Tensor, *, loss: str) -> Tensor:
    """Return the cost of each output, of z's shape. Raises ValueError for an unknown loss.

    The targets y may be broadcast to z's shape. Autograd differentiates every loss as precisely as it is computed.
    """
    return loss_named(loss).cost(z, y)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs a = σ(z) of units with targets y: a, 1 − a, and a − y, all of z's shape."""

    a: Tensor
    rest: Tensor
    error: Tensor

    @classmethod
    def of(cls, z: Tensor, y: Tensor) -> Self:
        """Return the outputs for targets in 0 … 1, which may be broadcast to z's shape."""
        a, rest = sigmoids(z)
        # From the smaller of both.
        return cls(a, rest, torch.where(a < rest, a - y, (1 - y) - rest))

    @classmethod
    def of_labels(cls, z: Tensor, y: Tensor) -> Self:
        """Return the outputs for targets that are all 0 or 1, exact where σ(z) is 0 or 1."""
        a, rest = sigmoids(z)
        return cls(a, rest, torch.where(y == 1, -rest, a))

    @property
    def slope(self) -> Tensor:
        """σ′(z), computed at each use."""
        return self.a * self.rest


@dataclass(frozen=True, slots=True)
class NumericLoss:
    """Cost of each output from z and y, and its derivative δ = ∂C/∂z, all of z's shape.

    `cost_of_labels` equals `cost` for targets that are all 0 or 1. It may take fewer operations.
    """

    cost: Callable[[Tensor, Tensor], Tensor]
    delta: Callable[[Outputs], Tensor]
    cost_of_labels: Callable[[Tensor, Tensor], Tensor]


def _quadratic(z: Tensor, y: Tensor) -> Tensor:
    return 0.5 * Outputs.of(z, y).error ** 2


def _cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    # If the target is 0 or 1, one of the two terms is 0, even if its logarithm is huge.
    of_target = torch.where(y > 0, -y * F.logsigmoid(z), 0.0)
    of_rest = torch.where(y < 1, (y - 1) * F.logsigmoid(-z), 0.0)
    return of_target + of_rest


def _cross_entropy_of_labels(z: Tensor, y: Tensor) -> Tensor:
    return -F.logsigmoid((2 * y - 1) * z)


# ½ (a − y)², and −[y ln a + (1−y) ln(1−a)] in nats. Source: Nielsen, Neural Networks and Deep Learning, eqs. 6 and 63;
# their δ: eqs. 55 and 61.
LOSSES: Mapping[str, NumericLoss] = {
    "quadratic": NumericLoss(_quadratic, lambda outputs: outputs.error * outputs.slope, _quadratic),
    "cross_entropy": NumericLoss(_cross_entropy, lambda outputs: outputs.error, _cross_entropy_of_labels),
}


def loss_named(name: str) -> NumericLoss:
    """Return the loss of this name. Raises ValueError for an unknown name."""
    return entry_named(LOSSES, name, "loss")


def chosen(values: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
    """Return each element from the value whose mask is True there.

    Exactly one mask is True at each element. The masks are bool, and broadcast to the shape of the values.
    """
    found = values[0]
    for value, mask in zip(values[1:], masks[1:], strict=True):
        found = torch.where(mask, value, found)
    return found
