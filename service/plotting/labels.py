"""Labels of axes and titles of plots."""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from costcurve.core.curve import STEPS_A_POINT, Granularity
from costcurve.core.job import Job
from costcurve.core.losses import LOSSES, loss_named
from costcurve.core.metrics import OF_LOSS, metric_named
from costcurve.core.schedule import schedule_text
from costcurve.core.spec import AnySpec, MnistSpec, phases_of

# Characters that fit next to a diagram.
_LINE = 38


@dataclass(frozen=True, slots=True)
class Label:
    """Text of an axis, and the factor for the values shown on it."""

    text: str
    scale: float = 1.0


def label_of(metric: str, losses: Collection[str]) -> Label:
    """Return the axis label of a metric for jobs with these losses.

    Examples: `gradient_norm.2` belongs to layer 2, `accuracy` is in %.
    """
    known, of = metric_named(metric), metric.partition(".")[2]
    text = known.label
    if of.isdecimal():
        text = f"layer {of}: {text}"
    elif of:
        text = f"{text}, {loss_label(of)}"
    if known.unit == OF_LOSS:
        units = {loss_named(loss).unit for loss in losses}
        text += f" ({units.pop()})" if len(units) == 1 else " (each loss in its own unit)"
    elif known.unit is not None:
        text += f" ({known.unit})"
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, _LINE)]
    return Label("\n".join(lines), known.scale)


def loss_label(loss: str) -> str:
    """Return the name of a loss in words; of an unknown one its name in the spec."""
    return LOSSES[loss].label if loss in LOSSES else loss


def losses_of(specs: Iterable[AnySpec]) -> set[str]:
    """Return the losses with which these specs train, with those of their schedules."""
    return {phase.loss for spec in specs for phase in phases_of(spec).values()}


def x_label_of(spec: AnySpec, granularity: Granularity = "epoch") -> str:
    """Return the label of a curve's x axis."""
    if not spec.has_steps:
        return "updates made"
    return (
        "finished epochs, counted from 0"
        if granularity == "epoch"
        else f"training steps, a point for each {STEPS_A_POINT}"
    )


def title_of(job: Job) -> str:
    """Return the job's name, or a summary of its spec."""
    return job.name or _summary(job.spec)


def title_of_all(jobs: Sequence[Job]) -> str:
    """Return the title of a plot of jobs of one experiment.

    For several jobs it is their number and the experiment.
    """
    return f"{len(jobs)} jobs compared: {jobs[0].spec.label}" if len(jobs) > 1 else title_of(jobs[0])


def value_text(value: object) -> str:
    """Return the value of a spec's field in a few characters."""
    if isinstance(value, list | tuple):
        if not value or isinstance(value[0], Mapping):
            return schedule_text(value)
        # Sizes of layers are written with hyphens everywhere; other numbers would look like a range.
        return ("-" if all(isinstance(each, int) for each in value) else ", ").join(map(value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def headline(spec: AnySpec) -> str:
    """Return the name of a spec's experiment as a title begins with it."""
    return spec.label[0].upper() + spec.label[1:]


def _summary(spec: AnySpec) -> str:
    what = f"{headline(spec)} {value_text(spec.layers)}" if isinstance(spec, MnistSpec) else headline(spec)
    changed = {key: value for key, value in spec.init.model_dump().items() if key != "scheme"}
    init = ", ".join(f"{key} {value_text(value)}" for key, value in changed.items() if value != 0)
    scheme = f"{spec.init.scheme} init" + (f" ({init})" if init else "")
    changes = f", then {value_text(schedule)}" if (schedule := spec.model_dump()["schedule"]) else ""
    return f"{what}: {spec.loss} loss, {scheme}, learning rate {spec.learning_rate:g}{changes}"
