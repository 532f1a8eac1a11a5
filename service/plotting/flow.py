"""Flow of a training as heat maps: a row per layer, a column per epoch.

They show how much of a signal each layer passes on, how large its gradient is, how much it changes, and what each loss
would pass down from the output.
"""

from collections.abc import Sequence
from math import isfinite

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, MaxNLocator

from costcurve.core.job import Job
from costcurve.core.metrics import metric_named
from costcurve.core.spec import MnistSpec
from service.flow_reader import START, Flow, Row
from service.plotting.figure import Canvas, Format, picture
from service.plotting.labels import loss_label, title_of, x_label_of

_COLOURS = colormaps["viridis"].with_extremes(bad="#d9d9d9")
_PANEL_INCHES, _ROW_INCHES = 0.75, 0.3
_TICKS = 4  # of a colour bar


def draw(job: Job, flow: Flow, *, file_format: Format) -> bytes:
    """Draw a heat map for each metric of the layers, and one of the mean |δ| of both losses.

    Colours are logarithmic. The output is the top row of a network, as gradients pass down from it. Values that are 0,
    not finite or not recorded are grey.
    """
    names = _names(job)
    maps = [(metric_named(metric).label, names, rows) for metric, rows in flow.layers.items()]
    losses = [loss_label(loss) for loss in flow.losses]
    passed = f"{metric_named('output_delta').label} that each loss passes down"
    maps.append((passed, losses, list(flow.losses.values())))

    def paint(canvas: Canvas) -> None:
        has_gaps = False
        for axes, (label, rows_named, rows) in zip(canvas.panels, maps, strict=True):
            has_gaps |= _map(canvas, axes, label, rows_named, rows)
        last = canvas.panels[-1]
        last.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        last.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _x_text(flow.x, place)))
        notes = [x_label_of(job.spec)]
        if flow.every > 1:
            notes.append(f"one of {flow.every:,} is drawn")
        if has_gaps:
            notes.append("grey: 0, infinite or not recorded")
        last.set_xlabel("; ".join(notes))

    inches = _PANEL_INCHES + _ROW_INCHES * max(len(names), len(losses))
    return picture(f"{title_of(job)} – its flow", len(maps), paint, file_format=file_format, panel_inches=inches)


def _names(job: Job) -> list[str]:
    """Return the names of the layers, the first one first."""
    if not isinstance(job.spec, MnistSpec):
        return ["neuron"]
    output = len(job.spec.layers) - 1
    return [*(f"layer {layer}" for layer in range(1, output)), f"layer {output}, output"]


def _map(canvas: Canvas, axes: Axes, label: str, names: Sequence[str], rows: Sequence[Row]) -> bool:
    """Draw the rows from bottom to top, with a colour bar. Return True if a value cannot be drawn."""
    axes.grid(visible=False)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_title(label, loc="left", fontsize=10)
    values = [[value if isfinite(value) and value > 0 else np.nan for value in row] for row in rows]
    known = [value for row in values for value in row if isfinite(value)]
    if not known:
        nothing = "no points yet" if not rows[0] else "not recorded" if np.isnan(rows).all() else "no values above 0"
        axes.text(0.5, 0.5, nothing, transform=axes.transAxes, ha="center", va="center")
        return False
    low, high = min(known), max(known)
    if low == high:
        low, high = low / 2, high * 2
    shown = axes.imshow(
        np.ma.masked_invalid(values),
        aspect="auto",
        origin="lower",
        interpolation="none",
        cmap=_COLOURS,
        norm=LogNorm(low, high),
    )
    bar = canvas.figure.colorbar(shown, ax=axes, pad=0.015, ticks=np.geomspace(low, high, _TICKS), format="{x:.2g}")
    bar.ax.minorticks_off()
    return len(known) < sum(map(len, rows))


def _x_text(x: Sequence[int], place: float) -> str:
    """Return the text of a tick at the column with this number."""
    column = round(place)
    if column != place or not 0 <= column < len(x):
        return ""
    return "start" if x[column] == START else f"{x[column]:,}"
