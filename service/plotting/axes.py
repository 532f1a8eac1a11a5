"""The vertical axis of a panel: as far as its metric's values can go, with a line where chance would be."""

from matplotlib.axes import Axes

from costcurve.core.metrics import metric_named
from service.plotting.figure import logarithmic

# Of the axis, so that a line at its end is drawn in its whole width.
_MARGIN = 0.02
_FAINT = "#8a8a8a"


def fit_axis(axes: Axes, name: str, *, scale: float, log: bool) -> None:
    """Let the axis show the metric's whole range, and chance as a faint line. Call it when all lines are drawn.

    Args:
        axes: the panel.
        name: the metric's.
        scale: what recorded values were multiplied by.
        log: whether the axis is logarithmic: it then goes from the lowest value to the highest, as it has no 0.
    """
    metric = metric_named(name)
    if log:
        logarithmic(axes)
    if metric.chance is not None:
        chance = metric.chance * scale
        axes.axhline(chance, color=_FAINT, linestyle=(0, (2, 3)), linewidth=0.9, zorder=1)
        axes.annotate(
            "chance",
            (1, chance),
            xytext=(0, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=_FAINT,
        )
    if log or metric.low is None:
        return
    low = metric.low * scale
    high = metric.high * scale if metric.high is not None else max(axes.get_ylim()[1], low)
    margin = _MARGIN * (high - low)
    axes.set_ylim(low - margin, high + (margin if metric.high is not None else 0))
