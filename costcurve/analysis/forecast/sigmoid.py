"""The sigmoid function and its derivative on arrays, in their own precision."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.floating[Any]]


def sigmoid(z: Numbers) -> Numbers:
    """Return σ(z); 1 − σ(z) is σ(−z), exact to rounding also where σ(z) rounds to 1."""
    # e^−z may overflow to infinity, and σ(z) is then 0.
    with np.errstate(over="ignore"):
        a: Numbers = 1 / (1 + np.exp(-z))
    return a


def sigmoid_prime(z: Numbers) -> Numbers:
    """Return σ′(z) = σ(z) σ(−z)."""
    return sigmoid(z) * sigmoid(-z)
