"""What a metric is called on an axis, with its unit, and how its values are scaled there."""

import textwrap
from collections.abc import Collection
from dataclasses import dataclass

from costcurve.core.curve import STEPS_A_POINT, Granularity
from costcurve.core.metrics import OF_LOSS, metric_named
from costcurve.core.spec import AnySpec, NeuronSpec

_LOSSES = {"quadratic": "quadratic", "cross_entropy": "cross-entropy"}
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
    known, of = metric_named(metric), metric.partition(".")[2]
    text = known.label
    if of.isdecimal():
        text = f"layer {of}: {text}"
    elif of:
        text = f"{text}, {_LOSSES.get(of, of)}"
    if known.unit == OF_LOSS:
        units = {_COST_UNITS[loss] for loss in losses}
        text += f" ({units.pop()})" if len(units) == 1 else " (each loss in its own unit)"
    elif known.unit is not None:
        text += f" ({known.unit})"
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _LINE)]
    return Label("\n".join(lines), known.scale)


def x_label_of(spec: AnySpec, granularity: Granularity = "epoch") -> str:
    """What the x axis of a curve counts."""
    if isinstance(spec, NeuronSpec):
        return "updates made"
    return (
        "finished epochs, counted from 0"
        if granularity == "epoch"
        else f"training steps, a point for each {STEPS_A_POINT}"
    )
