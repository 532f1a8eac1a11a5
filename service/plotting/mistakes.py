"""Test images that a network reads most wrongly, as a plot.

Each image has its digit and the digit that the network reads.
"""

from collections.abc import Sequence

import numpy as np

from costcurve.core.job import Job
from costcurve.core.model_file import Mistake
from service.plotting.figure import Canvas, Format, picture
from service.plotting.labels import title_of

_COLUMNS = 8
_SIDE = 28  # pixels of an image, which are the picture's units
_TILE = 33, 45  # from an image to the next one in its row, and to the one below it
_ROW_INCHES = 1.27
_FAINT = "#595959"


def draw(job: Job, mistakes: Sequence[Mistake], *, file_format: Format) -> bytes:
    """Draw the images row by row, the worst first."""
    rows = -(-len(mistakes) // _COLUMNS)

    def paint(canvas: Canvas) -> None:
        [axes] = canvas.panels
        axes.set_axis_off()
        axes.set_aspect("equal")
        for place, mistake in enumerate(mistakes):
            x, y = place % _COLUMNS * _TILE[0], place // _COLUMNS * _TILE[1]
            ink = np.frombuffer(mistake.pixels, dtype=np.uint8).reshape(_SIDE, _SIDE)
            axes.imshow(ink, cmap="Greys", vmin=0, vmax=255, extent=(x, x + _SIDE, y + _SIDE, y), interpolation="none")
            axes.plot([x, x + _SIDE, x + _SIDE, x, x], [y, y, y + _SIDE, y + _SIDE, y], color="#bbbbbb", linewidth=0.6)
            middle, below = x + _SIDE / 2, y + _SIDE + 1.5
            said = f"{mistake.label} read as {mistake.prediction}"
            axes.text(middle, below, said, ha="center", va="top", fontsize=9.5, weight="bold")
            sure = f"{_percent(mistake.outputs[mistake.prediction])}, no. {mistake.image}"
            axes.text(middle, below + 5.5, sure, ha="center", va="top", fontsize=7.5, color=_FAINT)
        axes.set_xlim(-1, _COLUMNS * _TILE[0] - 4)
        axes.set_ylim(max(rows, 1) * _TILE[1] - 2, -2)

    return picture(_title(job, mistakes), 1, paint, file_format=file_format, panel_inches=max(rows, 1) * _ROW_INCHES)


def _title(job: Job, mistakes: Sequence[Mistake]) -> str:
    if not mistakes:
        return f"{title_of(job)} – no test image is read wrongly"
    which = "test image" if len(mistakes) == 1 else f"{len(mistakes)} test images"
    return f"{title_of(job)} – the {which} read most wrongly, and the output for the digit read"


def _percent(output: float) -> str:
    """Return an output as a percentage; less than certain is never shown as certain."""
    return f"{min(100 * output, 99.9):.1f} %" if output < 1 else "100 %"
