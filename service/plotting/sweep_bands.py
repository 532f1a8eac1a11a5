"""Cells of a sweep as a plot, with a line and a band for each.

The line is the mean of the cell's repeats, and the band shows how far they spread.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from costcurve.analysis.bands import Band, Reach
from costcurve.analysis.sweep_ranking import Cell
from costcurve.core.curve import Granularity
from costcurve.core.metrics import metric_named
from costcurve.core.schedule import schedule_text
from costcurve.core.spec import AnySpec
from costcurve.core.sweep import Sweep
from service.plotting.axes import fit_axis
from service.plotting.figure import Canvas, Format, picture, style
from service.plotting.labels import headline, label_of, losses_of, x_label_of

# An axis that ends beyond this overflows a float64 where matplotlib adds its margins.
_LARGEST_DRAWN = 1e300
# A curve of up to this number of points has a marker at each of them.
_FEW_POINTS = 60
_BAND: dict[str, Any] = {"alpha": 0.2, "linewidth": 0}
_BEYOND: dict[str, Any] = {"alpha": 0.45, "linewidth": 1.0, "marker": ""}
_GREY = "#555555"
_UNSET = object()
_NO_BAND = Band((), (), (), (), full=0)
_REACHES: Mapping[Reach, str] = {
    "extremes": "lowest to highest",
    "deviation": "± 1 standard deviation, within lowest and highest",
}


@dataclass(frozen=True, slots=True)
class DrawnCell:
    """One cell on a plot: its settings, number of curves, and one band per metric."""

    settings: Mapping[str, Any]
    curves: int
    bands: Mapping[str, Band]


@dataclass(frozen=True, slots=True)
class DrawnSweep:
    """All cells of a plot, and the reach of their bands.

    One of `every` points of a curve is drawn.
    """

    cells: Sequence[DrawnCell]
    reach: Reach
    every: int


def draw_bands(
    sweep: DrawnSweep,
    *,
    metrics: Sequence[str],
    granularity: Granularity,
    specs: Sequence[AnySpec],
    repeats: int,
    file_format: Format,
    title: str,
    log: bool = False,
) -> bytes:
    """Plot each metric in a panel of its own, with all cells in each.

    One legend names the settings of the cells and explains the bands.

    Args:
        sweep: the cells to draw, in this order.
        metrics: one panel for each.
        granularity: of the points.
        specs: the spec of one job of each cell.
        repeats: repeats of each cell in the complete sweep.
        file_format: of the returned bytes.
        title: shown at the top.
        log: True for a logarithmic y axis.
    """
    names = cell_names(sweep.cells, repeats)
    key = _key(sweep, repeats)
    losses = losses_of(specs)

    def paint(canvas: Canvas) -> None:
        for axes, metric in zip(canvas.panels, metrics, strict=True):
            handles = _panel(axes, metric, sweep.cells, losses, log=log)
        canvas.panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        drawn = f" (one of {sweep.every:,} points is drawn)" if sweep.every > 1 else ""
        canvas.panels[-1].set_xlabel(x_label_of(specs[0], granularity) + drawn)
        canvas.legend([*handles, *key.values()], [*names, *key])

    return picture(title, len(metrics), paint, file_format=file_format, names=[*names, *key])


def sweep_title(sweep: Sweep, cells: Sequence[Cell], spec: AnySpec) -> str:
    """Return the title of a plot of these cells.

    Example: `MNIST: the 8 best of 5,000 cells`.
    """
    what = sweep.submission.name or headline(spec)
    count = sweep.submission.cells
    if len(cells) == count:
        return f"{what}: all {count:,} cells" if count > 1 else what
    best = [cell.rank for cell in cells] == [*range(1, len(cells) + 1)]
    if len(cells) == 1:
        return f"{what}: the best of {count:,} cells" if best else f"{what}: cell {cells[0].cell} of {count:,}"
    return f"{what}: the {len(cells)} best of {count:,} cells" if best else f"{what}: {len(cells)} of {count:,} cells"


def cell_names(cells: Sequence[DrawnCell], repeats: int) -> list[str]:
    """Return a name for each cell: the settings in which the cells differ.

    If the number of drawn repeats differs between cells, it is part of the name.
    """
    settings = [cell.settings for cell in cells]
    every = dict.fromkeys(name for each in settings for name in each)
    # A variant has only the fields that it changes. None is a value, too: that of no early stopping.
    differing = [
        name for name in every if any(each.get(name, _UNSET) != settings[0].get(name, _UNSET) for each in settings)
    ]
    shown = differing or list(every)
    names = [", ".join(f"{name} {_value(name, each[name])}" for name in shown if name in each) for each in settings]
    if differing:
        names = [name or "as it is" for name in names]
    if len({cell.curves for cell in cells}) > 1:
        names = [f"{name} ({cell.curves:,} of {repeats:,} repeats)" for name, cell in zip(names, cells, strict=True)]
    return [name or "the only cell" for name in names]


def _panel(axes: Axes, metric: str, cells: Sequence[DrawnCell], losses: Collection[str], *, log: bool) -> list[Line2D]:
    label = label_of(metric, losses)
    text, scale, log = label.text, label.scale, log and not metric_named(metric).is_share
    bands = [cell.bands.get(metric, _NO_BAND) for cell in cells]
    sizes = (abs(value) for band in bands for value in (*band.low, *band.high) if not isnan(value))
    if max(sizes, default=0.0) > _LARGEST_DRAWN:
        text, scale = f"{text}, in units of {_LARGEST_DRAWN:g}", 1 / _LARGEST_DRAWN
    axes.set_ylabel(text)
    lines = []
    for number, (cell, band) in enumerate(zip(cells, bands, strict=True)):
        look = style(number)
        low, mean, high = (_shown(side, scale, log=log) for side in (band.low, band.mean, band.high))
        full, beyond = band.full, max(band.full - 1, 0)
        marker = "o" if len(band.x) <= _FEW_POINTS else ""
        lines += axes.plot(band.x[:full], mean[:full], marker=marker, **look)
        axes.plot(band.x[beyond:], mean[beyond:], **(look | _BEYOND))
        if cell.curves > 1:
            axes.fill_between(band.x[:full], low[:full], high[:full], color=look["color"], **_BAND)
    if not any(band.x for band in bands):
        axes.text(0.5, 0.5, "no points yet", transform=axes.transAxes, ha="center", va="center")
        return lines
    fit_axis(axes, metric, scale=scale, log=log)
    return lines


def _shown(values: Sequence[float], scale: float, *, log: bool) -> list[float]:
    """Return the scaled values, with NaN for those that are not drawn.

    A logarithmic axis does not draw values of 0 or less.
    """
    return [value * scale if value > 0 or not log else nan for value in values]


def _key(sweep: DrawnSweep, repeats: int) -> dict[str, Artist]:
    """Return the legend entries that explain lines and bands, with their symbols.

    There are none if each line is simply one job.
    """
    counts = {cell.curves for cell in sweep.cells}
    key: dict[str, Artist] = {}
    if max(counts) > 1:
        [count, *others] = counts
        of_all = f"{repeats:,}" if count == repeats else f"{count:,} of {repeats:,}"
        key["mean of the repeats" if others else f"mean of {of_all} repeats"] = Line2D([], [], color=_GREY)
        key[_REACHES[sweep.reach]] = Patch(color=_GREY, **_BAND)
    if any(band.full < len(band.x) for cell in sweep.cells for band in cell.bands.values()):
        key["mean of the remaining repeats where others have ended"] = Line2D([], [], color=_GREY, **_BEYOND)
    return key


def _value(name: str, value: Any) -> str:
    """Return the value of a spec's field in a few characters."""
    match value:
        case dict():
            shown = {each: figure for each, figure in value.items() if each != "scheme" and figure}
            figures = ", ".join(f"{each} {_value(each, figure)}" for each, figure in shown.items())
            scheme = value.get("scheme", "")
            return f"{scheme} ({figures})" if scheme and figures else scheme or figures
        case list() if name == "schedule":
            return schedule_text(value)
        case list():
            return ("-" if name == "layers" else ", ").join(_value("", each) for each in value)
        case float() if float(f"{value:g}") == value:
            return f"{value:g}"
    return str(value)
