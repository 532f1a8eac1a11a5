"""Drawing of plots: one style, one plot at a time, reproducible bytes."""

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from service.plotting.lettering import cut, fonts, lettering, width, wrapped

Format = Literal["svg", "png"]
MEDIA_TYPES: Mapping[Format, str] = {"svg": "image/svg+xml", "png": "image/png"}

# Colours that are distinct for every kind of colour vision. Source: Okabe and Ito, Color Universal Design (2008);
# without its yellow, which is hard to see on white, and with the strong ones first.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":")
_INK = "#1a1a1a"
_LOOK: dict[Any, Any] = {
    "svg.hashsalt": "costcurve",  # ids within an SVG are made from it, not at random
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "lines.markersize": 3,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
}
_DPI = 120
_TITLE_CHARACTERS = 78
_LEGEND_CHARACTERS = 84
_INCHES_WIDE = 8.0
_INCHES_A_LINE = 0.22

# matplotlib's fonts and text layout are shared by all threads and not thread-safe.
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Canvas:
    """A plot in progress: a column of panels that share one x axis."""

    figure: Figure
    panels: Sequence[Axes]

    def legend(self, handles: Sequence[Artist], names: Sequence[str]) -> None:
        """Name the lines in one legend below all panels, where nothing is drawn."""
        shown = [as_text(cut(name, _LEGEND_CHARACTERS)) for name in names]
        columns = _legend_columns(names)
        self.figure.legend(handles, shown, loc="outside lower center", ncols=columns)


def picture(
    title: str,
    panels: int,
    paint: Callable[[Canvas], None],
    *,
    file_format: Format,
    names: Sequence[str] = (),
    panel_inches: float = 3.4,
) -> bytes:
    """Draw a plot and return its bytes.

    Equal arguments give equal bytes if `paint` draws the same.

    Args:
        title: shown at the top; a dollar sign in it begins no formula.
        panels: number of diagrams, one below the other.
        paint: draws into the canvas that it receives. No two run at the same time.
        file_format: of the returned bytes.
        names: entries of the legend, for which space is reserved.
        panel_inches: the height of a panel.
    """
    lines = wrapped(title, _TITLE_CHARACTERS) or [""]
    rows = -(-len(names) // _legend_columns(names))
    height = 0.6 + panel_inches * panels + _INCHES_A_LINE * (len(lines) + rows)
    with _drawing, mpl.rc_context({**_LOOK, **fonts()}):
        figure = Figure(figsize=(_INCHES_WIDE, height), layout="constrained")
        figure.suptitle(as_text("\n".join(lines)), fontsize=11.5)
        axes = figure.subplots(panels, 1, squeeze=False, sharex=True)[:, 0] if panels else ()
        paint(Canvas(figure, list(axes)))
        figure.align_ylabels()
        drawn = io.BytesIO()
        metadata = {"Date": None} if file_format == "svg" else {"Software": None}
        with mpl.rc_context(lettering(figure, file_format)):
            figure.savefig(drawn, format=file_format, dpi=_DPI, metadata=metadata)
    return drawn.getvalue()


def style(number: int) -> dict[str, Any]:
    """Return the colour and dashes of the line with this number.

    There are 28 different looks. Neighbours differ in both colour and dashes.
    """
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _DASHES[number % len(_DASHES)]}


def as_text(text: str) -> str:
    """Return the text with dollar signs escaped, so that they begin no formula."""
    return text.replace("$", r"\$")


def logarithmic(axes: Axes) -> None:
    """Make the y axis logarithmic; values that it cannot show are omitted.

    An axis that spans few decades has more labels.
    """
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(_PlainLog())
    axes.yaxis.set_minor_formatter(_PlainLog(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
    axes.grid(visible=True, which="minor", axis="y", color="#eeeeee", linewidth=0.5)


class _PlainLog(LogFormatterSciNotation):
    """Labels of easily read numbers in plain digits, of others as powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text: str = super().__call__(x, pos)
        return f"{x:g}" if text and 1e-4 <= abs(x) < 1e5 else text


def _legend_columns(names: Sequence[str]) -> int:
    longest = min(max(map(width, names), default=1), _LEGEND_CHARACTERS) + 8  # for the sample of the line before it
    return max(1, min(len(names), (_LEGEND_CHARACTERS + 8) // longest))
