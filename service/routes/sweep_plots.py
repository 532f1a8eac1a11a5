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
from service.routes.plots import PICTURES, PlotParameters, picture_answer, to_draw
from service.sweep_curves import plotted_job_ids, read_bands

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

    best: Whole = Field(default=8, ge=1, le=MOST_CELLS, description="How many cells, the best of the leaderboard.")
    cells: str | None = Field(
        default=None,
        pattern=f"^[0-9]{{1,4}}(,[0-9]{{1,4}}){{0,{MOST_CELLS - 1}}}$",
        description="The numbers of the cells to draw instead, separated by commas.",
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.cells is not None and "best" in self.model_fields_set:
            raise bad_value("goes without `cells`, which names them", at="best")
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
    page = store.cells(sweep_id, parameters.query())
    cells = [cell for cell in page.items if cell.jobs]
    if not cells:
        message = "no jobs are left of these cells"
        raise InvalidRequest(message, errors=[FieldError("/query/cells", message)])
    jobs = plotted_job_ids(cells)
    ranks = [(cell.cell, cell.rank) for cell in cells]
    etag = etag_of(file_format, sweep_id, ranks, jobs, store.versions([*chain(*jobs)]), parameters)

    def drawn() -> bytes:
        return _drawn(store, page.sweep, cells, file_format, parameters)

    return conditional(etag, if_none_match, lambda: picture_answer(pictures, gate, etag, file_format, drawn))


def _drawn(
    store: JobStore, sweep: Sweep, cells: Sequence[Cell], file_format: Format, parameters: SweepPlotParameters
) -> bytes:
    firsts = [store.get(cell.jobs[0].id) for cell in cells]
    asked = to_draw(store, firsts, parameters)
    return draw_bands(
        read_bands(store, cells, asked),
        metrics=asked.metrics,
        granularity=asked.granularity,
        specs=[job.spec for job in firsts],
        repeats=sweep.submission.repeats,
        file_format=file_format,
        title=parameters.title or sweep_title(sweep, cells, firsts[0].spec),
        log=parameters.log,
    )
