"""Vertical axis of a panel: the metric's whole range, and a line at chance."""

from matplotlib.axes import Axes

from costcurve.core.metrics import metric_named
from service.plotting.figure import logarithmic

# Fraction of the axis, so that a line at its end is drawn in full width.
_MARGIN = 0.02
_FAINT = "#8a8a8a"


def fit_axis(axes: Axes, name: str, *, scale: float, log: bool) -> None:
    """Show the metric's whole range on the axis, and chance as a faint line.

    Call it after all lines are drawn.

    Args:
        axes: the panel.
        name: name of the metric.
        scale: factor by which the recorded values were multiplied.
        log: True for a logarithmic axis. It goes from the lowest value to the highest, as it has no 0.
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
