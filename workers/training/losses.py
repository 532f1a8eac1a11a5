"""The two costs, from logits, at full relative precision for every z.

No formula computes 1 − σ(z) as a difference. σ(z) rounds to 1 from z = 37 on in float64 (17 in float32): there 1 − σ(z)
is 0 and σ(−z) is e^−37. So 1 − σ(z) is always computed as σ(−z). No formula subtracts two close numbers unless output
and target are close.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own custom
from torch import Tensor

from costcurve.core.spec import Loss, Reduction


def cost(z: Tensor, y: Tensor, *, loss: Loss, reduction: Reduction) -> Tensor:
    """Return the cost of a batch, a scalar.

    Args:
        z: logits of the output layer, (samples, outputs); the output is a = σ(z).
        y: targets in 0 … 1, of z's shape.
        loss: ½ (a − y)² for each output, or −[y ln a + (1−y) ln(1−a)], in nats.
        reduction: sum or mean over the outputs; always the mean over the samples.

    Source: Nielsen, Neural Networks and Deep Learning, eqs. 6 and 63.
    """
    return _reduced(costs(z, y, loss=loss), reduction)


def cost_of_labels(z: Tensor, y: Tensor, *, loss: Loss, reduction: Reduction) -> Tensor:
    """Return the cost of a batch whose targets are all 0 or 1.

    It equals `cost`, with fewer operations.
    """
    return _reduced(costs_of_labels(z, y, loss=loss), reduction)


def costs_of_labels(z: Tensor, y: Tensor, *, loss: Loss) -> Tensor:
    """Return the cost of each output, for targets that are all 0 or 1. Raises ValueError for an unknown loss."""
    return _named(_COSTS_OF_LABELS, loss)(z, y)


def _reduced(each: Tensor, reduction: Reduction) -> Tensor:
    return each.sum(dim=1).mean() if reduction == "sum_outputs" else each.mean()


def costs(z: Tensor, y: Tensor, *, loss: Loss) -> Tensor:
    """Return the cost of each output, of z's shape. Raises ValueError for an unknown loss.

    The targets y may be broadcast to z's shape. Autograd differentiates both losses as precisely as they are computed.
    """
    return _named(_COSTS, loss)(z, y)


def _quadratic(z: Tensor, y: Tensor) -> Tensor:
    return 0.5 * errors(z, y) ** 2


def _cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    # If the target is 0 or 1, one of the two terms is 0, even if its logarithm is huge.
    of_target = torch.where(y > 0, -y * F.logsigmoid(z), 0.0)
    of_rest = torch.where(y < 1, (y - 1) * F.logsigmoid(-z), 0.0)
    return of_target + of_rest


def _cross_entropy_of_labels(z: Tensor, y: Tensor) -> Tensor:
    return -F.logsigmoid((2 * y - 1) * z)


Cost = Callable[[Tensor, Tensor], Tensor]
_COSTS: dict[str, Cost] = {"quadratic": _quadratic, "cross_entropy": _cross_entropy}
_COSTS_OF_LABELS: dict[str, Cost] = {"quadratic": _quadratic, "cross_entropy": _cross_entropy_of_labels}


def _named(table: Mapping[str, Cost], loss: str) -> Cost:
    if loss not in table:
        raise ValueError(f"there is no loss {loss!r}; there are {', '.join(table)}")
    return table[loss]


def errors(z: Tensor, y: Tensor) -> Tensor:
    """Return a − y for a = σ(z), of z's shape."""
    return difference(torch.sigmoid(z), torch.sigmoid(-z), y)


def difference(a: Tensor, rest: Tensor, y: Tensor) -> Tensor:
    """Return a − y from the smaller of a = σ(z) and rest = 1 − a = σ(−z)."""
    return torch.where(a < rest, a - y, (1 - y) - rest)
