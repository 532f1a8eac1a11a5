"""What a metric is called on an axis, with its unit, and how its values are scaled there."""

import textwrap
from collections.abc import Collection
from dataclasses import dataclass

from jobs.curves import STEPS_A_POINT, Granularity
from jobs.spec import AnySpec, NeuronSpec

_LABELS = {
    "cost": "cost",
    "cost_min": "lowest cost of a minibatch",
    "cost_max": "highest cost of a minibatch",
    "test_cost": "cost on the test images",
    "correct": "test images read correctly (of 10,000)",
    "accuracy": "accuracy on the test images (%)",
    "validation_accuracy": "accuracy on the validation images (%)",
    "output": "output a",
    "weight": "weight w",
    "bias": "bias b",
    "gradient": "gradient ∂C/∂w",
    "sigmoid_prime": "σ′(z)",
    "slowdown_factor": "slowdown factor\n|δ cross-entropy| / |δ quadratic|",
    "saturated_fraction": "share of saturated units\n(σ′(z) < 0.01)",
    "mean_sigmoid_prime": "mean σ′(z)",
    "gradient_norm": "gradient norm ‖∂C/∂W‖",
    "update_ratio": "update / weight norm ratio",
    "distinct_units": "distinct units",
    "output_delta": "mean |δ| at the output",
    "output_gradient_norm": "gradient norm ‖∂C/∂W‖ at the output",
}
_LOSSES = {"quadratic": "quadratic", "cross_entropy": "cross-entropy"}
_COSTS = frozenset({"cost", "cost_min", "cost_max", "test_cost"})
_PERCENT = frozenset({"accuracy", "validation_accuracy"})
# Characters that fit beside a diagram.
_LINE = 38
_COST_UNITS = {"quadratic": "½ squared error", "cross_entropy": "nats"}


@dataclass(frozen=True, slots=True)
class Label:
    """What stands at an axis, and what values are multiplied with to be shown there."""

    text: str
    scale: float = 1.0


def label_of(metric: str, losses: Collection[str]) -> Label:
    """The axis of a metric of jobs with these losses: `gradient_norm.2` belongs to layer 2, `accuracy` is in %."""
    name, _, of = metric.partition(".")
    text = _LABELS.get(name, name)
    if of.isdecimal():
        text = f"layer {of}: {text}"
    elif of:
        text = f"{text}, {_LOSSES.get(of, of)}"
    if metric in _COSTS:
        units = {_COST_UNITS[loss] for loss in losses}
        text += f" ({units.pop()})" if len(units) == 1 else " (each loss in its own unit)"
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _LINE)]
    return Label("\n".join(lines), 100.0 if metric in _PERCENT else 1.0)


def x_label_of(spec: AnySpec, granularity: Granularity = "epoch") -> str:
    """What the x axis of a curve counts."""
    if isinstance(spec, NeuronSpec):
        return "updates made"
    return (
        "finished epochs, counted from 0"
        if granularity == "epoch"
        else f"training steps, a point for each {STEPS_A_POINT}"
    )
