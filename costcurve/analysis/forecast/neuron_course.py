"""Course of a neuron, simulated: the updates that a worker would make, in float64."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from costcurve.analysis.forecast.network_start import ratio
from costcurve.analysis.initializers import initial_layers
from costcurve.core.losses import Loss
from costcurve.core.spec import NeuronSpec, phase_at, phases_of

# Most simulated updates: about 10 ms of one core.
MOST_UPDATES = 10_000


@dataclass(frozen=True, slots=True)
class NeuronCourse:
    """Simulated course of a neuron up to its last update, or up to MOST_UPDATES updates.

    `updates` is the number of simulated updates. `halfway_update` is the first update after which the output has come
    half way from its start to the target, None if there is none. The final values are those after the last simulated
    update.
    """

    updates: int
    halfway_update: int | None
    final_output: float
    final_cost: float


class _Point(NamedTuple):
    """State of the neuron between two updates; `error` is a − y, and `slope` is σ′(z)."""

    weight: float
    bias: float
    z: float
    output: float
    error: float
    slope: float


# δ = ∂C/∂z of the losses that can be simulated.
_DELTAS: Mapping[Loss, Callable[[_Point], float]] = {
    "quadratic": lambda point: point.error * point.slope,
    "cross_entropy": lambda point: point.error,
}


def simulated(spec: NeuronSpec) -> tuple[dict[str, float], NeuronCourse | None]:
    """Return the figures of the start, by the names of the curve's metrics, and the course.

    A figure is not finite if the start leaves the range of float64. For a loss other than the article's there is no
    course, and no figure that depends on the loss.
    """
    points = _points(spec)
    start = last = next(points)
    figures = {
        "output": start.output,
        "weight": start.weight,
        "bias": start.bias,
        "sigmoid_prime": start.slope,
        "slowdown_factor": ratio(1.0, start.slope),
    }
    if not all(phase.loss in _DELTAS for phase in phases_of(spec).values()):
        return figures, None
    figures |= {"cost": _cost(start, spec), "gradient": _DELTAS[spec.loss](start) * spec.input}
    half, updates = abs(start.error) / 2, 0
    halfway = None
    for updates, last in enumerate(islice(points, min(spec.epochs, MOST_UPDATES)), start=1):
        if halfway is None and abs(last.error) <= half:
            halfway = updates
    return figures, NeuronCourse(updates, halfway, last.output, _cost(last, phase_at(spec, updates)))


def halfway_update(spec: NeuronSpec, loss: Loss) -> int | None:
    """Return the first update after which the output has come half way to its target if trained with this loss.

    The effective learning rate is the spec's. Return None if there is no such update within the simulated updates.
    """
    points = _points(spec.model_copy(update={"loss": loss, "schedule": ()}))
    half = abs(next(points).error) / 2
    course = enumerate(islice(points, min(spec.epochs, MOST_UPDATES)), start=1)
    return next((update for update, point in course if abs(point.error) <= half), None)


def _points(spec: NeuronSpec) -> Iterator[_Point]:
    """Yield the state before the first update, and after each one.

    Source: Nielsen, Neural Networks and Deep Learning, ch. 3, eqs. 55-56 (quadratic), 61-62 (cross-entropy).
    """
    [layer] = initial_layers(spec.init, (1, 1), seed=spec.seed, dtype=np.float64)
    phase = spec
    weight, bias = float(layer.weights[0, 0]), float(layer.biases[0])
    x, y = spec.input, spec.target
    phases = phases_of(spec)
    for update in count():
        phase = phases.get(update, phase)
        z = x * weight + bias
        small = math.exp(-abs(z))
        a, rest = (1 / (1 + small), small / (1 + small)) if z >= 0 else (small / (1 + small), 1 / (1 + small))
        error = a - y if a < rest else (1 - y) - rest
        slope = a * rest
        point = _Point(weight, bias, z, a, error, slope)
        yield point
        delta = _DELTAS[phase.loss](point)
        weight -= phase.learning_rate * (delta * x)
        bias -= phase.learning_rate * delta


def _cost(point: _Point, spec: NeuronSpec) -> float:
    if spec.loss == "quadratic":
        return point.error**2 / 2
    # A target of 0 or 1 has one term; the other's logarithm may be infinite.
    of_target = spec.target * _softplus(-point.z) if spec.target > 0 else 0.0
    of_rest = (1 - spec.target) * _softplus(point.z) if spec.target < 1 else 0.0
    return of_target + of_rest


def _softplus(z: float) -> float:
    """Return ln(1 + e^z), which is −ln σ(−z)."""
    return max(z, 0.0) + math.log1p(math.exp(-abs(z)))
