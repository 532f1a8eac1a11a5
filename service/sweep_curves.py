"""Curves of a sweep's cells, combined into one band per cell."""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil

from costcurve.analysis.bands import Reach, band_of, points_at
from costcurve.analysis.sweep_ranking import Cell
from costcurve.core.curve import Curve
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


def read_bands(store: JobStore, cells: Sequence[Cell], asked: Reading) -> DrawnSweep:
    """Return the bands of these cells, at the same x for all cells.

    Args:
        store: holds the curves.
        cells: the cells to draw.
        asked: the metrics and the granularity; its jobs are the first of each cell.

    Raises:
        JobNotFound: one of the jobs was deleted in the meantime.
    """
    lengths = [{job_id: _length(store, job_id, asked) for job_id in ids} for ids in plotted_job_ids(cells)]
    longest = max(length for of_cell in lengths for length in of_cell.values())
    most = max(_MOST_POINTS // max(len(cells) * longest, 1), 1)
    begun = [[job_id for job_id, length in of_cell.items() if length][:most] for of_cell in lengths]
    step = max(ceil(longest / _PLACES), 1)
    ends = {length - 1 for of_cell in lengths for length in of_cell.values() if length}
    numbers = sorted({*range(0, longest, step), *ends})
    reach: Reach = "extremes" if min(map(len, begun)) < _FEW_CURVES else "deviation"
    xs = [number * asked.stride for number in numbers]
    drawn = []
    for cell, ids, known in zip(cells, begun, asked.known, strict=True):
        metrics = [metric for metric in asked.metrics if metric in known]
        curves = [points_at(_runs(store, job_id, asked, metrics), metrics, numbers) for job_id in ids]
        bands = {metric: band_of(xs, [curve[metric] for curve in curves], reach) for metric in metrics}
        drawn.append(DrawnCell(cell.settings, len(curves), bands))
    return DrawnSweep(drawn, reach, step)


def _length(store: JobStore, job_id: str, asked: Reading) -> int:
    return store.curve(job_id, granularity=asked.granularity, limit=0).total_points


def _runs(store: JobStore, job_id: str, asked: Reading, metrics: Sequence[str]) -> Iterator[Curve]:
    return chain.from_iterable(Reading(store, [job_id], granularity=asked.granularity, metrics=metrics).pieces())
