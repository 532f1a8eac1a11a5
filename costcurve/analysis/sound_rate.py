"""Learning rate with which a network of this shape and start learns well.

The formula was fitted to rate sweeps of networks on MNIST; benchmarks/records/diagnosis.md has its errors.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from math import exp, pi, sqrt

from costcurve.core.initializers import AnyInit, ConstantInit, NormalInit, ScaledNormalInit, XavierInit
from costcurve.core.losses import Loss
from costcurve.core.spec import PIXELS

# The sound rate at κ = 1, batch 10, 30 hidden units and 5,000 updates, for each loss.
_SCALES: Mapping[Loss, float] = {"quadratic": 4.9, "cross_entropy": 0.8}
# A larger product of rate and κ overshoots, for each loss.
_LARGEST_STEPS: Mapping[Loss, float] = {"quadratic": 10.4, "cross_entropy": 7.9}
_OF_SLOPE, _OF_BATCH, _OF_WIDTH, _OF_UPDATES = -0.92, 0.37, 1.26, -0.37
# Batch sizes, updates and widths of the sweeps; beyond them the nearest counts.
_BATCHES, _UPDATES, _WIDTHS = (5, 100), (1_000, 150_000), (10, 300)
_LEAST_SLOPE = 1e-3
# Mean square of a hidden unit's output, σ(z)², and mean sum of the squared pixels of an image.
_SQUARED_OUTPUT, _SQUARED_PIXELS = 0.35, 87.84


def sound_rate(
    *, loss: Loss, layers: tuple[int, ...], batch_size: int, output_slope: float, updates: int = 5_000
) -> float:
    """Return the effective learning rate that suits a network.

    Args:
        loss: what the network is trained with.
        layers: units of every layer, from 784 to 10.
        batch_size: images of one update.
        output_slope: mean σ′(z) of the output layer before the first update.
        updates: updates of the whole training. A longer one ends better with smaller ones.
    """
    hidden = layers[1:-1]
    squares = _SQUARED_OUTPUT * hidden[-1] if hidden else _SQUARED_PIXELS
    # A smaller slope says that the start is saturated, and nothing of a sound rate.
    kappa = (1 + squares) * max(output_slope, _LEAST_SLOPE)
    rate = (
        _SCALES[loss]
        * kappa**_OF_SLOPE
        * (_within(_BATCHES, batch_size) / 10) ** _OF_BATCH
        * (_within(_WIDTHS, min(hidden, default=30)) / 30) ** _OF_WIDTH
        * (_within(_UPDATES, updates) / 5_000) ** _OF_UPDATES
    )
    largest: float = min(rate, _LARGEST_STEPS[loss] / kappa)
    return largest


def _within(limits: tuple[int, int], value: int) -> int:
    return min(max(value, limits[0]), limits[1])


def expected_output_slope(init: AnyInit, layers: tuple[int, ...]) -> float:
    """Return the σ′(z) of the output layer that this init has on average before the first update.

    Each z is taken as normal, with the variance that the layer before gives it (mean field): Poole et al.,
    "Exponential expressivity in deep neural networks through transient chaos", 2016. Units that start alike, of a
    `constant` or `zeros` init, are taken as if they had that value.
    """
    squares, mean = _SQUARED_PIXELS, 0.0
    variance = 0.0
    for layer, (n_in, n_out) in enumerate(pairwise(layers), start=1):
        of_weights, of_biases = _variances(init, layer, n_in, n_out)
        variance = of_weights * squares + of_biases
        if isinstance(init, ConstantInit):
            # All weights are alike: the mean moves, and not the variance. An image's pixels add up to about 102.
            mean = init.weight * (102.0 if n_in == PIXELS else n_in * _mean(_sigmoid, mean, variance)) + init.bias
        squares = n_out * _mean(lambda z: _sigmoid(z) ** 2, mean, variance)
    return _mean(lambda z: _sigmoid(z) * _sigmoid(-z), mean + init.output_bias, variance)


def _variances(init: AnyInit, layer: int, n_in: int, n_out: int) -> tuple[float, float]:
    """Return the variances of the weights and of the biases that an init draws."""
    if isinstance(init, NormalInit):
        return init.layer_std(layer) ** 2, init.layer_std(layer) ** 2
    if isinstance(init, ScaledNormalInit):
        return 1 / n_in, 1.0
    if isinstance(init, XavierInit):
        return 2 / (n_in + n_out), 0.0
    return 0.0, 0.0


def _mean(f: Callable[[float], float], mean: float, variance: float) -> float:
    """Return the mean of f(z) for z ~ N(mean, variance), by the trapezoidal rule over six standard deviations."""
    step, std = 0.25, sqrt(variance)
    nodes = [step * place for place in range(-24, 25)]
    return sum(step * exp(-(node**2) / 2) / sqrt(2 * pi) * f(mean + std * node) for node in nodes)


def _sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z)) if z >= 0 else exp(z) / (1 + exp(z))
