"""Curves as SVG and PNG. The same curves always give the same bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from costcurve.core.curve import Granularity
from costcurve.core.job import Job
from costcurve.core.metrics import metric_named
from costcurve.core.spec import AnySpec, MnistSpec
from costcurve.core.spec_diff import differences
from service.diagnosis_reader import NamedStretch
from service.plotting.axes import fit_axis
from service.plotting.figure import Canvas, Format, picture, style
from service.plotting.labels import label_of, losses_of, title_of_all, value_text, x_label_of

# An axis that ends beyond this overflows a float64 where matplotlib adds its margins.
_LARGEST_DRAWN = 1e300
# A curve of up to this number of points has a marker at each of them.
_FEW_POINTS = 60
# Metrics between which a band is drawn around the line, if they are recorded.
_BANDS = {"cost": ("cost_min", "cost_max")}
_BAND_OPACITY = 0.2
# Line at a change of a schedule, in the color of its job.
_CHANGE: Mapping[str, Any] = {"linestyle": ":", "linewidth": 1, "alpha": 0.6, "zorder": 1}
_BAND_TEXT = "\nmean, in a band from lowest to highest"
# Shading behind the lines where a warning holds; more would hide the lines.
_SHADES: Sequence[Mapping[str, Any]] = (
    {"facecolor": "#E69F00", "alpha": 0.16, "edgecolor": "none", "zorder": 0},
    {"facecolor": "none", "hatch": "///", "edgecolor": "#d0d0d0", "linewidth": 0, "zorder": 0},
)
_MOST_SHADED = len(_SHADES)
# The bands of more jobs would cover each other.
_MOST_BANDS = 4


@dataclass(frozen=True, slots=True)
class Line:
    """One job on a plot: `series[metric][i]` belongs to `x[i]`.

    Values that are None or infinite are not drawn.
    """

    job: Job
    x: Sequence[int]
    series: Mapping[str, Sequence[float | None]]


def with_bands(metrics: Sequence[str]) -> list[str]:
    """Return these metrics, and those that bound the bands around them."""
    return list(dict.fromkeys([*metrics, *(bound for metric in metrics for bound in _BANDS.get(metric, ()))]))


def draw(
    lines: Sequence[Line],
    *,
    metrics: Sequence[str],
    granularity: Granularity,
    file_format: Format,
    log: bool = False,
    title: str | None = None,
    stretches: Sequence[NamedStretch] = (),
) -> bytes:
    """Plot each metric in a panel of its own, with all jobs in each.

    The legend names only what differs between the jobs. The stretches are shaded in every panel and named in the
    legend.
    """
    names = _names([line.job for line in lines]) if len(lines) > 1 else []
    shaded = stretches[:_MOST_SHADED]

    def paint(canvas: Canvas) -> None:
        for axes, metric in zip(canvas.panels, metrics, strict=True):
            handles = _panel(axes, metric, lines, log=log)
            shades = [_shade(axes, stretch, look) for stretch, look in zip(shaded, _SHADES, strict=False)]
            for number, line in enumerate(lines):
                _mark_changes(axes, line.job.spec, granularity, color=style(number)["color"])
        canvas.panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        canvas.panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        canvas.panels[-1].set_xlabel(x_label_of(lines[0].job.spec, granularity))
        if names or shaded:
            canvas.legend([*(handles if names else ()), *shades], legend)

    legend = [*names, *(stretch.text for stretch in shaded)]
    shown = title or title_of_all([line.job for line in lines])
    return picture(shown, len(metrics), paint, file_format=file_format, names=legend)


def _shade(axes: Axes, stretch: NamedStretch, look: Mapping[str, Any]) -> Artist:
    return axes.axvspan(stretch.first, stretch.last, **look)


def _mark_changes(axes: Axes, spec: AnySpec, granularity: Granularity, *, color: str) -> None:
    """Draw a faint vertical line before the first point of each change of the schedule."""
    for change in spec.schedule:
        x = change.from_epoch - 0.5
        if granularity == "step" and isinstance(spec, MnistSpec):
            x = change.from_epoch * spec.steps_per_epoch
        axes.axvline(x, color=color, **_CHANGE)


def _panel(axes: Axes, metric: str, lines: Sequence[Line], *, log: bool) -> list[Artist]:
    label = label_of(metric, losses_of(line.job.spec for line in lines))
    text, scale, log = label.text, label.scale, log and not metric_named(metric).is_share
    bounds = _BANDS.get(metric, ()) if len(lines) <= _MOST_BANDS else ()
    columns = [{each: _finite(line.series.get(each), len(line.x)) for each in (metric, *bounds)} for line in lines]
    known = [value for column in columns for values in column.values() for value in values if not isnan(value)]
    if max(map(abs, known), default=0.0) > _LARGEST_DRAWN:
        text, scale = f"{text}, in units of {_LARGEST_DRAWN:g}", 1 / _LARGEST_DRAWN
    handles: list[Artist] = []
    for number, (line, column) in enumerate(zip(lines, columns, strict=True)):
        scaled = {each: [value * scale for value in values] for each, values in column.items()}
        marker = "o" if len(line.x) <= _FEW_POINTS else ""
        look = style(number)
        if bounds and all(bound in line.series for bound in bounds):
            low, high = (scaled[bound] for bound in bounds)
            axes.fill_between(line.x, low, high, color=look["color"], alpha=_BAND_OPACITY, linewidth=0)
            text = text.removesuffix(_BAND_TEXT) + _BAND_TEXT
        handles += axes.plot(line.x, scaled[metric], marker=marker, **look)
    axes.set_ylabel(text)
    if not known or (log and max(known) <= 0):
        axes.set_yticks([])
        reached = "no finite values" if any(line.x for line in lines) else "no points yet"
        nothing = "no values above 0" if known else reached
        axes.text(0.5, 0.5, nothing, transform=axes.transAxes, ha="center", va="center")
        return handles
    fit_axis(axes, metric, scale=scale, log=log)
    return handles


def _finite(values: Sequence[float | None] | None, length: int) -> list[float]:
    """Return the values that can be drawn, and NaN for all others.

    NaN interrupts the line.
    """
    return [value if value is not None and isfinite(value) else nan for value in values or [None] * length]


def _names(jobs: Sequence[Job]) -> list[str]:
    """Return a name for each job: the fields of its spec that differ.

    A job whose name would not be unique is named by its id.
    """
    found = [each for each in differences([job.spec for job in jobs]) if not each.derived]
    names = [
        ", ".join(f"{each.field} {value_text(each.values[i])}" for each in found if each.values[i] is not None)
        for i in range(len(jobs))
    ]
    return [name if names.count(name) == 1 else job.id for name, job in zip(names, jobs, strict=True)]
