"""Curves as SVG and PNG. The same curves always give the same bytes."""

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jobs.job import Job
from jobs.spec import AnySpec, NeuronSpec

Format = Literal["svg", "png"]
MEDIA_TYPES: Mapping[Format, str] = {"svg": "image/svg+xml", "png": "image/png"}

# What each metric's axis says, with its unit.
_LABELS = {
    "cost": "cost",
    "test_cost": "cost on the test images",
    "correct": "test images read correctly (of 10,000)",
    "accuracy": "accuracy on the test images (%)",
    "validation_accuracy": "accuracy on the validation images (%)",
    "output": "output a",
    "weight": "weight w",
    "bias": "bias b",
    "gradient": "gradient ∂C/∂w",
    "sigmoid_prime": "σ′(z)",
}
_PERCENT = {"accuracy", "validation_accuracy"}
_COST_UNITS = {"quadratic": "½ squared error", "cross_entropy": "nats"}
# An axis that ends beyond this overflows a float64 where matplotlib adds its margins.
_LARGEST_DRAWN = 1e300
_DERIVED = {"effective_learning_rate"}
_STYLES = ("-", "--", ":", "-.")

# matplotlib's fonts and text layout are shared by all threads and made for one.
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Line:
    """One job on a plot: for each metric its points, (x, value)."""

    job: Job
    points: Mapping[str, Sequence[tuple[int, float]]]


def draw(
    lines: Sequence[Line], *, metrics: Sequence[str], file_format: Format, log: bool = False, title: str | None = None
) -> bytes:
    """Plot each metric on axes of its own, all jobs on each of them; one legend that names only what differs."""
    with _drawing, mpl.rc_context({"svg.hashsalt": "costcurve", "axes.grid": True, "grid.alpha": 0.3}):
        figure = Figure(figsize=(8, 1.2 + 3.4 * len(metrics)), layout="constrained")
        # A client's text is text: a dollar sign in it begins no formula.
        figure.suptitle((title or _title(lines)).replace("$", r"\$"), wrap=True)
        panels = figure.subplots(len(metrics), 1, squeeze=False, sharex=True)[:, 0]
        names = _names([line.job for line in lines])
        for axes, metric in zip(panels, metrics, strict=True):
            _panel(axes, metric, lines, names)
            if log:
                axes.set_yscale("log", nonpositive="mask")
            if len(lines) > 1:
                axes.legend()
        neuron = isinstance(lines[0].job.spec, NeuronSpec)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[-1].set_xlabel("updates made" if neuron else "finished epochs, counted from 0")
        picture = io.BytesIO()
        metadata = {"Date": None} if file_format == "svg" else {"Software": None}
        figure.savefig(picture, format=file_format, dpi=120, metadata=metadata)
    return picture.getvalue()


def _panel(axes: Axes, metric: str, lines: Sequence[Line], names: Sequence[str]) -> None:
    label = _LABELS[metric]
    units = {_COST_UNITS[line.job.spec.loss] for line in lines}
    if metric in {"cost", "test_cost"}:
        label += f" ({units.pop()})" if len(units) == 1 else " (each loss in its own unit)"
    scale = 100.0 if metric in _PERCENT else 1.0
    if max((abs(value) for line in lines for _, value in line.points[metric]), default=0.0) > _LARGEST_DRAWN:
        scale, label = 1 / _LARGEST_DRAWN, f"{label}, in units of {_LARGEST_DRAWN:g}"
    axes.set_ylabel(label)
    for line, name, style in zip(lines, names, cycle(_STYLES), strict=False):
        points = line.points[metric]
        marker = "o" if len(points) <= 60 else ""
        axes.plot(
            [x for x, _ in points],
            [value * scale for _, value in points],
            style,
            marker=marker,
            markersize=3,
            label=name,
        )


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
