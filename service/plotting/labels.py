"""Labels of axes and titles of plots."""

import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from costcurve.core.curve import STEPS_A_POINT, Granularity
from costcurve.core.job import Job
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


def title_of(job: Job) -> str:
    """The job's name; of one without a name, what it trains."""
    return job.name or _summary(job.spec)


def title_of_all(jobs: Sequence[Job]) -> str:
    """Of several jobs of one experiment, how many and which."""
    return f"{len(jobs)} jobs compared: {_experiment(jobs[0].spec)}" if len(jobs) > 1 else title_of(jobs[0])


def value_text(value: object) -> str:
    """The value of a field of a spec, in a few characters."""
    if isinstance(value, list | tuple):
        # Sizes of layers are written so everywhere; of other numbers it would look like a range.
        return ("-" if all(isinstance(each, int) for each in value) else ", ").join(map(value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _experiment(spec: AnySpec) -> str:
    return "one sigmoid neuron" if isinstance(spec, NeuronSpec) else "MNIST"


def _summary(spec: AnySpec) -> str:
    what = "One sigmoid neuron" if isinstance(spec, NeuronSpec) else f"MNIST {value_text(spec.layers)}"
    changed = {key: value for key, value in spec.init.model_dump().items() if key != "scheme"}
    init = ", ".join(f"{key} {value_text(value)}" for key, value in changed.items() if value != 0)
    scheme = f"{spec.init.scheme} init" + (f" ({init})" if init else "")
    return f"{what}: {spec.loss} loss, {scheme}, learning rate {spec.learning_rate:g}"
