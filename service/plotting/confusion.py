"""Confusion matrix as a plot: how often each digit is read as each digit.

A column shows the percentage of each digit that is read correctly.
"""

from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap

from costcurve.core.job import Job
from costcurve.core.model_file import Confusion
from costcurve.core.spec import DIGITS
from service.plotting.figure import Canvas, Format, picture
from service.plotting.labels import title_of

# The light half of the colours, on which dark text is legible.
_ERRORS = LinearSegmentedColormap.from_list("errors", colormaps["Oranges"]([0.0, 0.55]))
_RIGHT = "#e3eef7"


def draw(job: Job, confusion: Confusion, *, file_format: Format) -> bytes:
    """Draw the matrix: a row per digit, a column per digit that is read.

    A darker cell is a larger fraction of its row.
    """
    correct, total = sum(confusion[digit][digit] for digit in range(DIGITS)), sum(map(sum, confusion))

    def paint(canvas: Canvas) -> None:
        [axes] = canvas.panels
        axes.set_aspect("equal")
        axes.grid(visible=False)
        axes.set_xlim(-0.5, DIGITS + 0.7)
        axes.set_ylim(DIGITS - 0.5, -0.9)
        axes.text(DIGITS - 0.35, -0.7, "correct", va="center", fontsize=9)
        axes.set_xticks(range(DIGITS))
        axes.set_yticks(range(DIGITS))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("read as")
        axes.set_ylabel("digit")
        shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
        most = max(share for digit, row in enumerate(shares) for read, share in enumerate(row) if read != digit)
        for digit, row in enumerate(confusion):
            for read, count in enumerate(row):
                colour = _RIGHT if read == digit else _ERRORS(shares[digit][read] / most if most else 0.0)
                axes.fill_between([read - 0.48, read + 0.48], digit - 0.48, digit + 0.48, color=colour, linewidth=0)
                if count:
                    axes.text(read, digit, f"{count:,}", ha="center", va="center", fontsize=9)
            axes.text(DIGITS - 0.35, digit, f"{100 * shares[digit][digit]:.1f} %", va="center", fontsize=9)

    # No line break may separate the two numbers.
    title = (
        f"{title_of(job)} – {correct:,}\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}{total:,} test images are read correctly"
    )
    return picture(title, 1, paint, file_format=file_format, panel_inches=6.6)
