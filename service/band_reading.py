"""Reads the curves of a sweep's cells, and makes a band of each cell's."""

from collections.abc import Iterator, Sequence
from math import ceil

from jobs.bands import Reach, band_of, picked
from jobs.cells import Cell
from jobs.curves import Curve
from jobs.store import JobStore
from service.band_plots import DrawnCell, DrawnSweep

# Each curve is read from its beginning to its end. Of a cell with very many repeats, or very long ones, the first are
# drawn.
MOST_CURVES = 320
MOST_POINTS = 5_000_000
# A plot is some hundred pixels wide.
_PLACES = 500
_POINTS_AT_ONCE = 100_000
# The standard deviation of fewer curves says little; their extremes leave nothing out.
_FEW_CURVES = 10


def read_bands(store: JobStore, cells: Sequence[Cell], metrics: tuple[str, ...]) -> DrawnSweep:
    """The bands of these cells, at the same x for all of them.

    Raises:
        JobNotFound: one of their jobs was deleted just now.
        UnknownMetric: their experiment does not record one of the metrics.
    """
    of_each = max(MOST_CURVES // len(cells), 1)
    lengths = [{job.id: _length(store, job.id, metrics) for job in cell.jobs[:of_each]} for cell in cells]
    longest = max(length for of_cell in lengths for length in of_cell.values())
    of_each = max(min(of_each, MOST_POINTS // max(len(cells) * longest, 1)), 1)
    begun = [[job_id for job_id, length in of_cell.items() if length][:of_each] for of_cell in lengths]
    stride = max(ceil(longest / _PLACES), 1)
    ends = {length - 1 for of_cell in lengths for length in of_cell.values() if length}
    xs = sorted({*range(0, longest, stride), *ends})
    curves = [[picked(_runs(store, job_id, metrics), metrics, xs) for job_id in ids] for ids in begun]
    reach: Reach = "extremes" if min(map(len, begun)) < _FEW_CURVES else "deviation"
    drawn = [
        DrawnCell(
            cell.settings, len(own), {name: band_of(xs, [curve[name] for curve in own], reach) for name in metrics}
        )
        for cell, own in zip(cells, curves, strict=True)
    ]
    return DrawnSweep(drawn, reach, stride)


def _length(store: JobStore, job_id: str, metrics: tuple[str, ...]) -> int:
    return store.curve(job_id, metrics=metrics, limit=1).total_points


def _runs(store: JobStore, job_id: str, metrics: tuple[str, ...]) -> Iterator[Curve]:
    start = 0
    while len(run := store.curve(job_id, metrics=metrics, first=start, limit=_POINTS_AT_ONCE).curve):
        yield run
        start = run.end
