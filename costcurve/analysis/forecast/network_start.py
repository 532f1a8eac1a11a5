"""Figures of a network before its first update, from its own drawn weights.

The start is a pure function of the seed. It is drawn as a worker draws it, and a small sample of training images is
passed through it, forward and back. Names follow Nielsen, Neural Networks and Deep Learning, ch. 2: z the weighted
input of a unit, a = σ(z), δ = ∂C/∂z.
"""

import math
from collections.abc import Sequence

import numpy as np

from costcurve.analysis.forecast.sample import Sample
from costcurve.analysis.forecast.sigmoid import Numbers, sigmoid, sigmoid_prime
from costcurve.analysis.initializers import Layer, initial_layers
from costcurve.core.metrics import SATURATED_BELOW
from costcurve.core.spec import DIGITS, MnistSpec


def drawn_figures(spec: MnistSpec, sample: Sample) -> dict[str, float]:
    """Return the expected figures of the start, by the names of the diagnosis metrics.

    They estimate what a worker measures over its first 1,000 training images (workers/training/diagnostics.py). Layers
    are computed in float32 and the output's δ in float64, as there. A figure is not finite if the start leaves the
    range of float32. For a loss other than the article's, no figure depends on the loss.
    """
    layers = initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
    scale = 1 / DIGITS if spec.reduction == "mean_outputs" else 1.0
    figures: dict[str, float] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        inputs, slopes, z = _forward(layers, sample.pixels)
        errors = np.where(sample.targets == 1, -sigmoid(-z), sigmoid(z))
        slopes.append(sigmoid_prime(z))
        deltas = {"quadratic": errors * slopes[-1], "cross_entropy": errors}
        for number, slope in enumerate(slopes, start=1):
            figures[f"saturated_fraction.{number}"] = float((slope < SATURATED_BELOW).mean())
            figures[f"mean_sigmoid_prime.{number}"] = float(slope.mean(dtype=np.float64))
        if (own := deltas.get(spec.loss)) is not None:
            gradients = _gradient_norms(layers, inputs, slopes, own)
            for number, (layer, norm) in enumerate(zip(layers, gradients, strict=True), start=1):
                figures[f"gradient_norm.{number}"] = scale * norm
                figures[f"update_ratio.{number}"] = ratio(spec.learning_rate * scale * norm, _norm(layer.weights))
        for loss, delta in deltas.items():
            figures[f"output_delta.{loss}"] = float(np.abs(delta).mean())
            figures[f"output_gradient_norm.{loss}"] = _gradient_norm(inputs[-1], delta.astype(np.float32))
    figures["slowdown_factor"] = ratio(figures["output_delta.cross_entropy"], figures["output_delta.quadratic"])
    return figures


def ratio(numerator: float, denominator: float) -> float:
    """Return the ratio; infinite if only the denominator is 0, 0 if both are."""
    if denominator == 0:
        return math.inf if numerator else 0.0
    return numerator / denominator


def _forward(layers: Sequence[Layer], pixels: Numbers) -> tuple[list[Numbers], list[Numbers], Numbers]:
    """Return the input of each layer, σ′(z) of each hidden one, and the logits of the output.

    Inputs and σ′(z) are (images, units) float32, the logits (images, 10) float64.
    """
    inputs, slopes = [pixels], []
    z = pixels @ layers[0].weights + layers[0].biases
    for layer in layers[1:]:
        inputs.append(sigmoid(z))
        slopes.append(sigmoid_prime(z))
        z = inputs[-1] @ layer.weights + layer.biases
    return inputs, slopes, z.astype(np.float64)


def _gradient_norms(
    layers: Sequence[Layer], inputs: Sequence[Numbers], slopes: Sequence[Numbers], delta: Numbers
) -> list[float]:
    """Return ‖∂C/∂W‖ of each layer, of a cost that is summed over outputs and averaged over images.

    `delta` is the δ of the output, (images, 10).
    """
    delta, norms = delta.astype(np.float32), []
    for number in range(len(layers) - 1, -1, -1):
        norms.append(_gradient_norm(inputs[number], delta))
        if number:
            delta = (delta @ layers[number].weights.T) * slopes[number - 1]
    return norms[::-1]


def _gradient_norm(inputs: Numbers, delta: Numbers) -> float:
    return _norm(inputs.T @ delta) / len(delta)


def _norm(matrix: Numbers) -> float:
    """Return the Frobenius norm, summed in float64."""
    return float(np.linalg.norm(matrix.astype(np.float64)))
