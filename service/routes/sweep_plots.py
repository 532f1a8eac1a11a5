"""Route that plots the curves of a sweep, with a band for each cell."""

from collections.abc import Sequence
from itertools import chain
from typing import Annotated, Self

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field, model_validator

from costcurve.analysis.sweep_ranking import Cell
from costcurve.core.errors import InvalidRequest, JobNotFound, StoreUnavailable, SweepNotFound, UnknownMetric
from costcurve.core.sweep import Sweep
from costcurve.core.validation import FieldError, bad_value
from costcurve.store import JobStore
from costcurve.store.pagination import CellQuery
from service.dependencies import DrawingGate, DrawnPictures, Store
from service.http.strict_routes import StrictRoute, Whole
from service.http_cache import IfNoneMatch, conditional, etag_of
from service.plotting.figure import Format
from service.plotting.sweep_bands import draw_bands, sweep_title
from service.problems import documents
from service.routes.plots import PICTURES, PlotParameters, ensure_drawable, picture_answer
from service.sweep_curves import SweepCurves, plotted_job_ids

router = APIRouter(
    route_class=StrictRoute,
    tags=["sweeps"],
    default_response_class=Response,
    responses=documents(SweepNotFound, JobNotFound, InvalidRequest, UnknownMetric, StoreUnavailable) | PICTURES,
)

# More lines and their bands could not be distinguished.
MOST_CELLS = 16


class SweepPlotParameters(PlotParameters):
    """Cells, metrics, scale and title of a sweep's plot."""

    best: Whole = Field(
        default=8, ge=1, le=MOST_CELLS, description="Number of cells to draw, the best of the leaderboard."
    )
    cells: str | None = Field(
        default=None,
        pattern=f"^[0-9]{{1,4}}(,[0-9]{{1,4}}){{0,{MOST_CELLS - 1}}}$",
        description="Numbers of the cells to draw, separated by commas, instead of `best`.",
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.cells is not None and "best" in self.model_fields_set:
            raise bad_value("cannot be combined with `cells`; send one of them", at="best")
        return self

    def query(self) -> CellQuery:
        """Return the query for the cells to draw, in the order of their ranks."""
        if self.cells is None:
            return CellQuery(limit=self.best)
        return CellQuery(cells=frozenset(map(int, self.cells.split(","))))


@router.get("/sweeps/{sweep_id}/curve.{file_format}")
def get_sweep_plot(
    sweep_id: str,
    file_format: Format,
    parameters: Annotated[SweepPlotParameters, Query()],
    store: Store,
    pictures: DrawnPictures,
    gate: DrawingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Plot the mean curves of the best cells of a sweep, or of `cells`.

    A band around each curve shows how far the cell's repeats spread.
    """
    with store.read_transaction() as seen:
        page = seen.cells(sweep_id, parameters.query())
        cells = [cell for cell in page.items if cell.jobs]
        if not cells:
            message = "the sweep has no jobs in these cells; its route /cells lists all cells"
            raise InvalidRequest(message, errors=[FieldError("/query/cells", message)])
        jobs = plotted_job_ids(cells)
        versions = seen.versions([*chain(*jobs)])
    ranks = [(cell.cell, cell.rank) for cell in cells]
    etag = etag_of(file_format, sweep_id, ranks, jobs, versions, parameters)

    def drawn() -> bytes:
        return _drawn(store, page.sweep, cells, file_format, parameters)

    return conditional(etag, if_none_match, lambda: picture_answer(pictures, gate, etag, file_format, drawn))


def _drawn(
    store: JobStore, sweep: Sweep, cells: Sequence[Cell], file_format: Format, parameters: SweepPlotParameters
) -> bytes:
    with store.read_transaction() as seen:
        curves = SweepCurves(seen, cells, parameters.granularity, parameters.names())
        ensure_drawable(curves.firsts.metrics)
        curves.load()
    specs = curves.firsts.specs
    return draw_bands(
        curves.bands(),
        metrics=curves.firsts.metrics,
        granularity=parameters.granularity,
        specs=specs,
        repeats=sweep.submission.repeats,
        file_format=file_format,
        title=parameters.title or sweep_title(sweep, cells, specs[0]),
        log=parameters.log,
    )
