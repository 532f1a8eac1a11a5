"""Curves of a sweep's cells, combined into one band per cell."""

from collections.abc import Iterator, Sequence
from itertools import chain, count
from math import ceil

from costcurve.analysis.bands import Reach, band_of, points_at
from costcurve.analysis.sweep_ranking import Cell
from costcurve.core.curve import Curve, Granularity
from costcurve.store import JobStore
from service.curve_reader import Reading
from service.plotting.sweep_bands import DrawnCell, DrawnSweep

# Most curves and points of one plot, as each curve is read in full. If a cell has more repeats or longer ones, only
# the first repeats are drawn.
_MOST_CURVES = 320
_MOST_POINTS = 5_000_000
# Most regular places on the x axis: a plot is less than 1,000 pixels wide.
_PLACES = 500
# Of fewer curves, the extremes are drawn: they leave nothing out, and the standard deviation says little.
_FEW_CURVES = 10


def plotted_job_ids(cells: Sequence[Cell]) -> list[list[str]]:
    """Return, for each cell, the ids of the jobs that may be drawn."""
    return [[job.id for job in cell.jobs[: max(_MOST_CURVES // len(cells), 1)]] for cell in cells]


class SweepCurves:
    """Curves of the jobs that are drawn of some cells of a sweep."""

    def __init__(
        self, store: JobStore, cells: Sequence[Cell], granularity: Granularity, metrics: Sequence[str] | None
    ) -> None:
        """Look up metrics and lengths, and choose the jobs to draw.

        Raises:
            JobNotFound: one of the jobs was deleted in the meantime.
            UnknownMetric: no cell's first job records one of the metrics.
        """
        self._cells = cells
        job_ids = plotted_job_ids(cells)
        every, places = Reading(store, [*chain(*job_ids)], granularity=granularity), _numbered(job_ids)
        # The first job of each cell. Its metrics are those to draw.
        self.firsts = every.part([of_cell[0] for of_cell in places], metrics)
        self._lengths = every.ends
        most = max(_MOST_POINTS // max(len(cells) * max(self._lengths), 1), 1)
        begun = [[place for place in of_cell if self._lengths[place]][:most] for of_cell in places]
        self._places = _numbered(begun)
        self._curves = every.part([*chain(*begun)], None) if any(begun) else every

    def load(self) -> None:
        """Read the points now, in one statement, unless they are many."""
        self._curves.load()

    def bands(self) -> DrawnSweep:
        """Return the bands of the cells, at the same x for all cells.

        Raises:
            JobNotFound: one of the jobs was deleted before its points were read.
        """
        longest = max(self._lengths)
        step = max(ceil(longest / _PLACES), 1)
        numbers = sorted({*range(0, longest, step), *(length - 1 for length in self._lengths if length)})
        reach: Reach = "extremes" if min(map(len, self._places)) < _FEW_CURVES else "deviation"
        xs = [number * self.firsts.stride for number in numbers]
        drawn = []
        for cell, places, known in zip(self._cells, self._places, self.firsts.known, strict=True):
            metrics = [metric for metric in self.firsts.metrics if metric in known]
            curves = [points_at(runs, metrics, numbers) for runs in self._runs(places, metrics)]
            bands = {metric: band_of(xs, [curve[metric] for curve in curves], reach) for metric in metrics}
            drawn.append(DrawnCell(cell.settings, len(curves), bands))
        return DrawnSweep(drawn, reach, step)

    def _runs(self, places: Sequence[int], metrics: Sequence[str]) -> Iterator[Iterator[Curve]]:
        """Yield each curve of one cell in pieces."""
        if places:
            of_cell = self._curves.part(places, None)
            of_cell.load()
            for i in range(len(places)):
                yield chain.from_iterable(of_cell.part([i], metrics).pieces())


def _numbered(groups: Sequence[Sequence[object]]) -> list[list[int]]:
    """Return the place of each item in the concatenation of the groups."""
    places = count()
    return [[next(places) for _ in group] for group in groups]
