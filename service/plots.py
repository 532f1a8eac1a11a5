"""Curves as SVG and PNG. The same curves always give the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from jobs.curves import Granularity
from jobs.differences import differences
from jobs.job import Job
from service.drawing import Canvas, Format, logarithmic, picture, style
from service.labels import label_of, x_label_of
from service.titles import title_of

# An axis that ends beyond this overflows a float64 where matplotlib adds its margins.
_LARGEST_DRAWN = 1e300
# A curve of no more points shows each of them.
_FEW_POINTS = 60
# Between these metrics, where they are recorded, a band is drawn around the line.
_BANDS = {"cost": ("cost_min", "cost_max")}
_BAND_OPACITY = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """One job on a plot: `series[metric][i]` belongs to `x[i]`; None or infinite is not drawn."""

    job: Job
    x: Sequence[int]
    series: Mapping[str, Sequence[float | None]]


def with_bands(metrics: Sequence[str]) -> list[str]:
    """These metrics, and those between which bands around them are drawn."""
    return list(dict.fromkeys([*metrics, *(bound for metric in metrics for bound in _BANDS.get(metric, ()))]))


def draw(
    lines: Sequence[Line],
    *,
    metrics: Sequence[str],
    granularity: Granularity,
    file_format: Format,
    log: bool = False,
    title: str | None = None,
) -> bytes:
    """Plot each metric on axes of its own, all jobs on each of them; one legend that names only what differs."""
    names = _names([line.job for line in lines]) if len(lines) > 1 else []

    def paint(canvas: Canvas) -> None:
        for axes, metric in zip(canvas.panels, metrics, strict=True):
            if log:
                logarithmic(axes)
            handles = _panel(axes, metric, lines)
        canvas.panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.panels[-1].set_xlabel(x_label_of(lines[0].job.spec, granularity))
        if names:
            canvas.legend(handles, names)

    return picture(title or _title(lines), len(metrics), paint, file_format=file_format, names=names)


def _panel(axes: Axes, metric: str, lines: Sequence[Line]) -> list[Artist]:
    label = label_of(metric, [line.job.spec.loss for line in lines])
    text, scale = label.text, label.scale
    shown = [metric, *_BANDS.get(metric, ())]
    columns = [{each: _finite(line.series.get(each), len(line.x)) for each in shown} for line in lines]
    sizes = (abs(value) for column in columns for values in column.values() for value in values if not isnan(value))
    if max(sizes, default=0.0) > _LARGEST_DRAWN:
        text, scale = f"{text}, in units of {_LARGEST_DRAWN:g}", 1 / _LARGEST_DRAWN
    axes.set_ylabel(text)
    handles: list[Artist] = []
    for number, (line, column) in enumerate(zip(lines, columns, strict=True)):
        scaled = {each: [value * scale for value in values] for each, values in column.items()}
        marker = "o" if len(line.x) <= _FEW_POINTS else ""
        look = style(number)
        if len(bounds := [scaled[bound] for bound in shown[1:] if bound in line.series]) == 2:
            axes.fill_between(line.x, bounds[0], bounds[1], color=look["color"], alpha=_BAND_OPACITY, linewidth=0)
        handles += axes.plot(line.x, scaled[metric], marker=marker, **look)
    if not any(line.x for line in lines):
        axes.text(0.5, 0.5, "no points yet", transform=axes.transAxes, ha="center", va="center")
    return handles


def _finite(values: Sequence[float | None] | None, length: int) -> list[float]:
    """What can be drawn, and NaN for what cannot: there the line is interrupted."""
    return [value if value is not None and isfinite(value) else nan for value in values or [None] * length]


def _title(lines: Sequence[Line]) -> str:
    if len(lines) > 1:
        return f"{len(lines)} jobs compared: {lines[0].job.spec.experiment}"
    return title_of(lines[0].job)


def _names(jobs: Sequence[Job]) -> list[str]:
    """For each job the fields of its spec in which it differs from another; its id when it differs in none."""
    found = [each for each in differences([job.spec for job in jobs]) if not each.derived]
    names = [
        ", ".join(f"{each.field} {each.values[i]}" for each in found if each.values[i] is not None)
        for i in range(len(jobs))
    ]
    return [name if names.count(name) == 1 else job.id for name, job in zip(names, jobs, strict=True)]
