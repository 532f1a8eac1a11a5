"""How pictures are made: one look for all of them, one at a time, and the same bytes for the same picture."""

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

# Colours that people with any kind of colour vision tell apart. Source: Okabe and Ito, Color Universal Design (2008);
# without its yellow, which is lost on white, and with the strong ones first.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_DASHES: tuple[Any, ...] = ("-", "--", "-.", ":")
_INK = "#1a1a1a"
_LOOK: dict[Any, Any] = {
    "svg.hashsalt": "costcurve",  # ids within a picture are made from it, not drawn at random
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

# matplotlib's fonts and text layout are shared by all threads and made for one.
_drawing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture in the making: a column of panels, of which all share one x axis."""

    figure: Figure
    panels: Sequence[Axes]

    def legend(self, handles: Sequence[Artist], names: Sequence[str]) -> None:
        """Name the lines below the panels, where nothing is drawn; one legend for all of them."""
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
    """Draw a picture. Equal arguments, and a `paint` that paints the same, give equal bytes.

    Args:
        title: stands above; text, in which a dollar sign begins no formula.
        panels: how many diagrams stand below each other.
        paint: draws into the canvas that it is given. No two run at the same time.
        file_format: of the bytes that come back.
        names: what the legend is going to say; room is made for it.
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
    """Colour and dashes of the line with this number; 28 differ, and neighbours in both."""
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _DASHES[number % len(_DASHES)]}


def as_text(text: str) -> str:
    """The text as matplotlib shows it as it is: a dollar sign in it begins no formula."""
    return text.replace("$", r"\$")


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis; values that it cannot show are left out. Where it spans few decades, more is labelled."""
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(_PlainLog())
    axes.yaxis.set_minor_formatter(_PlainLog(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
    axes.grid(visible=True, which="minor", axis="y", color="#eeeeee", linewidth=0.5)


class _PlainLog(LogFormatterSciNotation):
    """Numbers that people read at a glance as they are, all others as powers of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        text: str = super().__call__(x, pos)
        return f"{x:g}" if text and 1e-4 <= abs(x) < 1e5 else text


def _legend_columns(names: Sequence[str]) -> int:
    longest = min(max(map(width, names), default=1), _LEGEND_CHARACTERS) + 8  # a sample of the line stands before it
    return max(1, min(len(names), (_LEGEND_CHARACTERS + 8) // longest))
