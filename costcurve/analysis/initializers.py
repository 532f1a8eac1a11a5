"""Initial weights and biases of a network, as they are drawn and as they are distributed."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from costcurve.analysis.randomness import Purpose, generator
from costcurve.core.initializers import ConstantInit, Init, NormalInit, ScaledNormalInit, XavierInit, ZerosInit


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights and biases of one layer, which computes z = a W + b.

    W is of shape (n_in, n_out), b of shape (n_out,).
    """

    weights: NDArray[Any]
    biases: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Moments:
    """Means and standard deviations of a layer's weights and biases."""

    weight_mean: float
    weight_std: float
    bias_mean: float
    bias_std: float


def initial_layers(init: Init, sizes: tuple[int, ...], *, seed: int, dtype: type[np.floating[Any]]) -> list[Layer]:
    """Return the initial layers of a network of these sizes.

    They are drawn in float64 and rounded to `dtype`.

    Source: xavier is Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural networks"
    (AISTATS 2010), eq. 16.
    """
    layers = []
    for number, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        weights, biases = _draw(init, number, n_in, n_out, seed)
        if number == len(sizes) - 1:
            biases = biases + init.output_bias
        # A start beyond dtype's range becomes infinite, and the training then reports that it diverged.
        with np.errstate(over="ignore"):
            layers.append(Layer(weights.astype(dtype), biases.astype(dtype)))
    return layers


def _draw(init: Init, number: int, n_in: int, n_out: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    draw_weights = generator(seed, Purpose.WEIGHTS, number)
    draw_biases = generator(seed, Purpose.BIASES, number)
    match init:
        case NormalInit():
            std = init.layer_std(number)
            return std * draw_weights.standard_normal((n_in, n_out)), std * draw_biases.standard_normal(n_out)
        case ScaledNormalInit():
            return draw_weights.standard_normal((n_in, n_out)) / np.sqrt(n_in), draw_biases.standard_normal(n_out)
        case XavierInit():
            bound = np.sqrt(6 / (n_in + n_out))
            return draw_weights.uniform(-bound, bound, (n_in, n_out)), np.zeros(n_out)
        case ConstantInit():
            return np.full((n_in, n_out), init.weight), np.full(n_out, init.bias)
        case ZerosInit():
            return np.zeros((n_in, n_out)), np.zeros(n_out)


def layer_moments(init: Init, sizes: tuple[int, ...], number: int) -> Moments:
    """Return the moments of layer `number`, counted from 1, of a network of these sizes, over all seeds."""
    n_in, n_out = sizes[number - 1], sizes[number]
    shift = init.output_bias if number == len(sizes) - 1 else 0.0
    match init:
        case NormalInit():
            std = init.layer_std(number)
            return Moments(0.0, std, shift, std)
        case ScaledNormalInit():
            return Moments(0.0, 1 / math.sqrt(n_in), shift, 1.0)
        case XavierInit():
            return Moments(0.0, math.sqrt(2 / (n_in + n_out)), shift, 0.0)
        case ConstantInit():
            return Moments(init.weight, 0.0, init.bias + shift, 0.0)
        case ZerosInit():
            return Moments(0.0, 0.0, shift, 0.0)
