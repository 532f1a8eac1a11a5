"""Curves as SVG and PNG. The same curves always give the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.job import Job
from jobs.spec import AnySpec, NeuronSpec
from service.drawing import Canvas, Format, logarithmic, picture, style
from service.labels import label_of, x_label_of

# An axis that ends beyond this overflows a float64 where matplotlib adds its margins.
_LARGEST_DRAWN = 1e300
_DERIVED = {"effective_learning_rate"}
# A curve of no more points shows each of them.
_FEW_POINTS = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One job on a plot: for each metric its points, (x, value)."""

    job: Job
    points: Mapping[str, Sequence[tuple[int, float]]]


def draw(
    lines: Sequence[Line], *, metrics: Sequence[str], file_format: Format, log: bool = False, title: str | None = None
) -> bytes:
    """Plot each metric on axes of its own, all jobs on each of them; one legend that names only what differs."""
    names = _names([line.job for line in lines]) if len(lines) > 1 else []

    def paint(canvas: Canvas) -> None:
        for axes, metric in zip(canvas.panels, metrics, strict=True):
            handles = _panel(axes, metric, lines)
            if log:
                logarithmic(axes)
        canvas.panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.panels[-1].set_xlabel(x_label_of(lines[0].job.spec))
        if names:
            canvas.legend(handles, names)

    return picture(title or _title(lines), len(metrics), paint, file_format=file_format, names=names)


def _panel(axes: Axes, metric: str, lines: Sequence[Line]) -> list[Any]:
    label = label_of(metric, [line.job.spec.loss for line in lines])
    text, scale = label.text, label.scale
    if max((abs(value) for line in lines for _, value in line.points[metric]), default=0.0) > _LARGEST_DRAWN:
        text, scale = f"{text}, in units of {_LARGEST_DRAWN:g}", 1 / _LARGEST_DRAWN
    axes.set_ylabel(text)
    handles = []
    for number, line in enumerate(lines):
        points = line.points[metric]
        marker = "o" if len(points) <= _FEW_POINTS else ""
        shown = [value * scale for _, value in points]
        handles += axes.plot([x for x, _ in points], shown, marker=marker, **style(number))
    return handles


def _title(lines: Sequence[Line]) -> str:
    if len(lines) > 1:
        return f"{len(lines)} jobs compared: {lines[0].job.spec.experiment}"
    job = lines[0].job
    return job.name or _summary(job.spec)


def _summary(spec: AnySpec) -> str:
    what = "One sigmoid neuron" if isinstance(spec, NeuronSpec) else "MNIST " + "-".join(map(str, spec.layers))
    changed = {key: value for key, value in spec.init.model_dump().items() if key != "scheme"}
    init = ", ".join(f"{key} {value}" for key, value in changed.items() if value != 0)
    scheme = f"{spec.init.scheme} init" + (f" ({init})" if init else "")
    return f"{what}: {spec.loss} loss, {scheme}, learning rate {spec.learning_rate:g}"


def _names(jobs: Sequence[Job]) -> list[str]:
    """For each job the fields of its spec in which it differs from another; its id when it differs in none."""
    specs = [_flat(job.spec.model_dump(mode="json")) for job in jobs]
    keys = sorted({key for spec in specs for key in spec} - _DERIVED)
    differing = [key for key in keys if any(spec.get(key) != specs[0].get(key) for spec in specs)]
    names = [", ".join(f"{key} {spec[key]}" for key in differing if key in spec) for spec in specs]
    return [name if names.count(name) == 1 else job.id for name, job in zip(names, jobs, strict=True)]


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
