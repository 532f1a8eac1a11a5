"""Figures of a network before its first update, from its init alone: mean field, for networks too large to draw.

The weighted inputs z of a layer are taken as normal for each image, with the mean and the variance that the layer
before gives them. This is exact for wide layers, and for the mean over many seeds. A single seed may be far from it:
benchmarks/records/forecast.md has the errors.

Source: Poole et al., "Exponential expressivity in deep neural networks through transient chaos" (NeurIPS 2016), eq. 3;
Schoenholz et al., "Deep information propagation" (ICLR 2017).
"""

import math
from dataclasses import dataclass

import numpy as np

from costcurve.analysis.forecast.network_start import ratio
from costcurve.analysis.forecast.sample import Sample
from costcurve.analysis.forecast.sigmoid import Numbers, sigmoid, sigmoid_prime
from costcurve.analysis.initializers import layer_moments
from costcurve.core.metrics import SATURATED_BELOW
from costcurve.core.spec import DIGITS, MnistSpec

# Nodes and weights of the trapezoidal rule: over a standard normal variable, and over z where σ′(z) is not tiny.
_NODES = np.linspace(-8, 8, 161)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()
_Z = np.linspace(-40, 40, 321)
# Up to this standard deviation of z, the nodes over the normal variable are close enough for σ′. It has the width 1.
_NARROW = 4.0
# σ′(z) < SATURATED_BELOW outside of ± this z.
_SATURATED_FROM = math.log((1 + math.sqrt(1 - 4 * SATURATED_BELOW)) / (1 - math.sqrt(1 - 4 * SATURATED_BELOW)))


def mean_field_figures(spec: MnistSpec, sample: Sample) -> dict[str, float]:
    """Return the expected figures of the start that need no gradient, by the names of the diagnosis metrics.

    These are the saturated fraction and the mean σ′(z) of each layer, the mean |δ| of both losses, and the slowdown
    factor. A figure is not finite if the start leaves the range of float32.
    """
    figures: dict[str, float] = {}
    pixels = sample.pixels.astype(np.float64)
    sums, squares = pixels.sum(axis=1), (pixels**2).sum(axis=1)
    for number, width in enumerate(spec.layers[1:], start=1):
        drawn = layer_moments(spec.init, spec.layers, number)
        units = _units(
            drawn.weight_mean * sums + drawn.bias_mean, np.hypot(drawn.weight_std * np.sqrt(squares), drawn.bias_std)
        )
        figures[f"saturated_fraction.{number}"] = units.saturated
        figures[f"mean_sigmoid_prime.{number}"] = float(units.slope.mean())
        # σ² = σ − σ′
        sums, squares = width * units.activation, width * (units.activation - units.slope)
    wrong = 1 / DIGITS
    delta = wrong * (1 - units.activation) + (1 - wrong) * units.activation
    slowed = wrong * (units.slope - units.product) + (1 - wrong) * units.product
    figures |= {"output_delta.quadratic": float(slowed.mean()), "output_delta.cross_entropy": float(delta.mean())}
    figures["slowdown_factor"] = ratio(figures["output_delta.cross_entropy"], figures["output_delta.quadratic"])
    return figures


@dataclass(frozen=True, slots=True)
class _Units:
    """Means over the units of a layer, (images,) each: σ(z), σ′(z) and σ(z) σ′(z).

    `saturated` is the share of saturated units over all images.
    """

    activation: Numbers
    slope: Numbers
    product: Numbers
    saturated: float


def _units(mean: Numbers, std: Numbers) -> _Units:
    """Return the means over z ~ N(mean, std²) for each image; mean and std are (images,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        # Training is in float32: what it cannot represent is infinite.
        mean, std = (each.astype(np.float32).astype(np.float64)[:, None] for each in (mean, std))
        z = mean + std * _NODES
        activation, slope = sigmoid(z), sigmoid_prime(z)
        wide = np.maximum(std, _NARROW)
        density = np.exp(-(((_Z - mean) / wide) ** 2) / 2) * ((_Z[1] - _Z[0]) / (wide * math.sqrt(2 * math.pi)))
        is_narrow = std[:, 0] < _NARROW
        slopes = np.where(is_narrow, slope @ _WEIGHTS, density @ sigmoid_prime(_Z))
        products = np.where(is_narrow, (activation * slope) @ _WEIGHTS, density @ (sigmoid(_Z) * sigmoid_prime(_Z)))
    within = [_between(float(m), float(s)) for m, s in zip(mean[:, 0], std[:, 0], strict=True)]
    return _Units(activation @ _WEIGHTS, slopes, products, 1 - sum(within) / len(within))


def _between(mean: float, std: float) -> float:
    """Return the probability that z ~ N(mean, std²) is not saturated."""
    if std == 0:
        return float(abs(mean) < _SATURATED_FROM)
    low, high = ((side * _SATURATED_FROM - mean) / (std * math.sqrt(2)) for side in (-1, 1))
    return (math.erf(high) - math.erf(low)) / 2
