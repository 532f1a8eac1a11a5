"""Warnings before training: valid settings with which a network or a neuron learns slowly, or not at all.

A warning has the code of the finding that the diagnosis of the training would have.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from costcurve.analysis.diagnosis.findings import figure
from costcurve.analysis.diagnosis.thresholds import SLOW_HIDDEN_START
from costcurve.analysis.forecast.forecast import Forecast, forecast
from costcurve.analysis.forecast.neuron_course import halfway_update
from costcurve.core.curve import is_sound
from costcurve.core.initializers import AnyInit, ConstantInit, NormalInit, ZerosInit
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec

# The quadratic loss is slow for a neuron that needs this many times the updates of cross-entropy for half of the way.
_SLOW_UPDATES = 5
# A neuron that misses its target by less has little to learn.
_SMALL_ERROR = 0.1


@dataclass(frozen=True, slots=True)
class SpecWarning:
    """Warning that a client should see before training.

    `code` is stable. `pointer` is the JSON pointer of the field in the submission.
    """

    code: str
    message: str
    pointer: str


def warnings(spec: AnySpec) -> tuple[SpecWarning, ...]:
    """Return warnings about values that are valid but rarely intended, from the spec and its forecast.

    A start that is not finite, and a symmetric one, is the only warning: all others depend on the init as well.
    """
    found = forecast(spec)
    if not found.is_finite:
        return tuple(_start_not_finite(found))
    if isinstance(spec, NeuronSpec):
        return (*_dead_input(spec), *_saturated_neuron(spec, found), *_rate_of_neuron(spec, found))
    if symmetric := tuple(_symmetric_init(spec)):
        return symmetric
    return (
        *_saturated_output(spec, found),
        *_slow_hidden_layers(spec, found),
        *_rate_of_network(spec, found),
    )


def _start_not_finite(found: Forecast) -> Iterator[SpecWarning]:
    name = next(name for name, value in found.start.items() if not is_sound(name, value))
    yield SpecWarning(
        "start_not_finite",
        f"The start is too large for a number: {name} will not be finite before the first update, and the job will "
        "fail. Use a smaller init.",
        "/spec/init",
    )


def _symmetric_init(spec: MnistSpec) -> Iterator[SpecWarning]:
    # A hidden layer of one unit has no other unit to equal.
    if max(spec.layers[1:-1], default=1) > 1 and _is_symmetric(spec.init):
        yield SpecWarning(
            "symmetric_init",
            "All units of a hidden layer start alike and receive the same gradient, so they stay alike: "
            "the layer works as a single unit (effective hidden units: 1). Use a random init.",
            "/spec/init",
        )


def _is_symmetric(init: AnyInit) -> bool:
    if isinstance(init, NormalInit):
        stds = init.std if isinstance(init.std, tuple) else (init.std,)
        return all(std == 0 for std in stds)
    return isinstance(init, ConstantInit | ZerosInit)


def _saturated_output(spec: MnistSpec, found: Forecast) -> Iterator[SpecWarning]:
    if spec.loss != "quadratic" or not found.is_badly_wrong:
        return
    wrong, factor = found.start["output_delta.cross_entropy"], found.start["slowdown_factor"]
    yield SpecWarning(
        "output_saturated_quadratic",
        f"The outputs start badly wrong, by {figure(wrong)} on average, and saturated. The quadratic loss multiplies "
        f"each error by σ′(z), which leaves 1/{figure(factor)} of it to learn from. Use cross-entropy or a smaller "
        "init of the output layer.",
        "/spec/init/output_bias" if spec.init.output_bias else "/spec/init",
    )


def _slow_hidden_layers(spec: MnistSpec, found: Forecast) -> Iterator[SpecWarning]:
    slopes = [found.start[f"mean_sigmoid_prime.{layer}"] for layer in range(1, len(spec.layers) - 1)]
    slow = [layer for layer, slope in enumerate(slopes, start=1) if slope < SLOW_HIDDEN_START]
    if slow:
        least = min(slopes)
        yield SpecWarning(
            "hidden_layer_slow",
            f"Hidden layer {', '.join(map(str, slow))} starts saturated: it passes back {figure(least)} of its "
            "gradient, where 0.25 is the most. No loss changes that. Use smaller initial weights, such as "
            "scaled_normal or xavier.",
            "/spec/init",
        )


def _rate_of_network(spec: MnistSpec, found: Forecast) -> Iterator[SpecWarning]:
    rates = found.learning_rate
    if rates is None:
        return
    said = f"The effective learning rate is {figure(rates.effective)}; about {figure(rates.sound)} suits this network"
    if rates.effective < rates.lowest:
        yield SpecWarning(
            "learning_rate_small",
            f"{said}. Below {figure(rates.lowest)} it learns too slowly for its {spec.total_steps:,} updates.",
            "/spec/learning_rate",
        )
    elif rates.effective > rates.highest:
        yield SpecWarning(
            "learning_rate_large",
            f"{said}. Above {figure(rates.highest)} its updates overshoot, and it learns badly or not at all.",
            "/spec/learning_rate",
        )


def _dead_input(spec: NeuronSpec) -> Iterator[SpecWarning]:
    if spec.input == 0:
        yield SpecWarning(
            "dead_input",
            "The input is 0, so the weight's gradient is 0 with every loss: the weight keeps its value, and only the "
            "bias learns.",
            "/spec/input",
        )


def _saturated_neuron(spec: NeuronSpec, found: Forecast) -> Iterator[SpecWarning]:
    if spec.loss != "quadratic" or not found.is_badly_wrong or found.course is None:
        return
    own, other = found.course.halfway_update, halfway_update(spec, "cross_entropy")
    if own is not None and (other is None or own < _SLOW_UPDATES * other):
        return
    takes = f"needs {own:,} updates for" if own is not None else f"does not come, in {found.course.updates:,} updates,"
    would = f"would need {other:,}" if other is not None else "would not, either"
    yield SpecWarning(
        "output_saturated_quadratic",
        f"The output starts saturated where it is badly wrong, at {found.start['output']:.4g}. The quadratic loss "
        f"{takes} half of the way to {spec.target:.4g}; cross-entropy at the same rate {would}.",
        "/spec/init",
    )


def _rate_of_neuron(spec: NeuronSpec, found: Forecast) -> Iterator[SpecWarning]:
    course = found.course
    if course is None:
        return
    is_slow_by_loss = spec.loss == "quadratic" and found.is_badly_wrong
    first, last = (abs(output - spec.target) for output in (found.start["output"], course.final_output))
    if math.isnan(last) or last > first + 1e-12:
        yield SpecWarning(
            "learning_rate_large",
            f"After {course.updates:,} updates the output will be further from its target than before them: the "
            f"learning rate {spec.learning_rate:g} overshoots.",
            "/spec/learning_rate",
        )
    elif course.halfway_update is None and first >= _SMALL_ERROR and not is_slow_by_loss:
        yield SpecWarning(
            "learning_rate_small",
            f"The output goes from {found.start['output']:.4g} to {course.final_output:.4g} in {course.updates:,} "
            f"updates, less than half of the way to {spec.target:.4g}. Use a larger learning rate or more epochs.",
            "/spec/learning_rate",
        )
