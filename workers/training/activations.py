"""Activations of units in torch, at full relative precision for every z.

No formula computes 1 − σ(z) as a difference. σ(z) rounds to 1 from z = 37 on in float64 (17 in float32): there 1 − σ(z)
is 0 and σ(−z) is e^−37. So 1 − σ(z) is always computed as σ(−z).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from costcurve.core.activations import UNIT_ACTIVATION
from costcurve.core.validation import entry_named


@dataclass(frozen=True, slots=True)
class Activation:
    """Functions of an activation f, for z of any shape and float type.

    `value` returns f(z). `value_and_slope` returns f(z) and f′(z).
    """

    value: Callable[[Tensor], Tensor]
    value_and_slope: Callable[[Tensor], tuple[Tensor, Tensor]]


def sigmoids(z: Tensor) -> tuple[Tensor, Tensor]:
    """Return σ(z) and 1 − σ(z)."""
    return torch.sigmoid(z), torch.sigmoid(-z)


def _sigmoid_and_slope(z: Tensor) -> tuple[Tensor, Tensor]:
    a, rest = sigmoids(z)
    return a, a * rest


ACTIVATIONS: Mapping[str, Activation] = {"sigmoid": Activation(torch.sigmoid, _sigmoid_and_slope)}


def activation_named(name: str) -> Activation:
    """Return the activation of this name. Raises ValueError for an unknown name."""
    return entry_named(ACTIVATIONS, name, "activation")


# The activation of every unit of a network or neuron.
UNIT = activation_named(UNIT_ACTIVATION)
