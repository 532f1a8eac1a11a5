"""Routes that plot the curves of one or more jobs, and the flow of one."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field, field_validator

from costcurve.core.errors import InvalidRequest, JobNotFound, StoreUnavailable, UnknownMetric
from costcurve.core.job import Job
from costcurve.core.validation import FieldError, Text
from costcurve.store import JobStore
from service.curve_reader import Reading
from service.dependencies import DrawingGate, DrawnPictures, Store
from service.diagnosis_reader import Recorded, named_stretches
from service.flow_reader import read_flow
from service.heavy_work import Gate, Later
from service.http.strict_routes import StrictRoute
from service.http_cache import IfNoneMatch, Pictures, conditional, etag_of
from service.plotting import flow
from service.plotting.curves import Line, draw, with_bands
from service.plotting.figure import MEDIA_TYPES, Format
from service.problems import documents
from service.routes.comparisons import MOST_JOBS, all_different, of_one_experiment
from service.routes.curves import TAGGED, MetricsParameter

# `responses` of a route that sends a plot.
PICTURES: dict[int | str, dict[str, Any]] = TAGGED | {
    200: TAGGED[200] | {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}
}

router = APIRouter(
    route_class=StrictRoute,
    tags=["results"],
    default_response_class=Response,
    responses=documents(JobNotFound, InvalidRequest, UnknownMetric, StoreUnavailable) | PICTURES,
)


# Buckets of x, each drawn by its lowest and highest point. A plot is less than 1,000 pixels wide: more would not show.
_BUCKETS = 2000
# Most values of a whole plot: for many metrics of many jobs, the buckets are wider.
_MOST_VALUES = 500_000
_MOST_DIAGRAMS = 16


class PlotParameters(MetricsParameter):
    """Metrics, granularity, scale and title of a plot."""

    metrics: str | None = Field(
        default="cost",
        description=f"Names of metrics, separated by commas, {_MOST_DIAGRAMS} at most; each has its own diagram.",
    )
    log: bool = False
    title: Annotated[Text, Field(max_length=200)] | None = None


class ComparisonPlotParameters(PlotParameters):
    """Jobs to plot together, and the parameters of the plot."""

    job: list[str] = Field(min_length=2, max_length=MOST_JOBS)

    _all_different = field_validator("job")(all_different)


@router.get("/jobs/{job_id}/curve.{file_format}")
def get_curve_plot(
    job_id: str,
    file_format: Format,
    parameters: Annotated[PlotParameters, Query()],
    store: Store,
    pictures: DrawnPictures,
    gate: DrawingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Plot the job's curve as SVG or PNG.

    With `granularity=step`, the cost is a mean, with a band from the lowest to the highest value. Stretches in which a
    warning of the diagnosis holds are shaded.
    """
    etag = etag_of(file_format, job_id, store.versions([job_id]), parameters)

    def drawn() -> bytes:
        return _drawn(store, [job_id], file_format, parameters)

    return conditional(etag, if_none_match, lambda: picture_answer(pictures, gate, etag, file_format, drawn))


@router.get("/compare.{file_format}")
def get_comparison_plot(
    file_format: Format,
    parameters: Annotated[ComparisonPlotParameters, Query()],
    store: Store,
    pictures: DrawnPictures,
    gate: DrawingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Plot the curves of several jobs of one experiment on the same axes.

    The legend names the fields of the spec that differ.
    """
    etag = etag_of(file_format, store.versions(parameters.job), parameters)

    def drawn() -> bytes:
        return _drawn(store, parameters.job, file_format, parameters)

    return conditional(etag, if_none_match, lambda: picture_answer(pictures, gate, etag, file_format, drawn))


@router.get("/jobs/{job_id}/flow.{file_format}")
def get_flow_plot(
    job_id: str,
    file_format: Format,
    store: Store,
    pictures: DrawnPictures,
    gate: DrawingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Plot the training's flow as heat maps, with a row for each layer and a column for each epoch.

    They show σ′(z), gradients, updates, and what each loss would pass down from the output.
    """
    etag = etag_of("flow", file_format, job_id, store.versions([job_id]))

    def drawn() -> bytes:
        job, found = read_flow(store, job_id)
        return flow.draw(job, found, file_format=file_format)

    return conditional(etag, if_none_match, lambda: picture_answer(pictures, gate, etag, file_format, drawn))


def picture_answer(
    pictures: Pictures, gate: Gate, etag: str, file_format: Format, draw: Callable[[], bytes]
) -> Response:
    """Return the plot with this ETag, from the cache if it is there.

    Otherwise the plot is drawn when its turn comes.
    """

    def answer(picture: bytes) -> Response:
        return Response(picture, media_type=MEDIA_TYPES[file_format])

    known = pictures.known(etag)
    return answer(known) if known is not None else Later(gate, lambda: answer(pictures.get(etag, draw)))


def ensure_drawable(metrics: Sequence[str]) -> None:
    """Raise InvalidRequest if these are too many metrics for one plot."""
    if len(metrics) > _MOST_DIAGRAMS:
        message = f"may name at most {_MOST_DIAGRAMS}, one for each diagram; known: {', '.join(metrics)}"
        raise InvalidRequest(f"metrics {message}", errors=[FieldError("/query/metrics", message)])


def _drawn(store: JobStore, job_ids: Sequence[str], file_format: Format, parameters: PlotParameters) -> bytes:
    with store.read_transaction() as seen:
        jobs = of_one_experiment(seen, job_ids)
        asked = Reading(seen, job_ids, granularity=parameters.granularity, metrics=parameters.names())
        ensure_drawable(asked.metrics)
        asked.load()
        # One job's warnings are shaded.
        recorded = Recorded.of(seen, jobs[0], asked) if len(jobs) == 1 else None
    buckets = min(_BUCKETS, max(_MOST_VALUES // (2 * len(jobs) * len(asked.metrics) ** 2), 1))
    return draw(
        [_line(job, i, asked, buckets) for i, job in enumerate(jobs)],
        metrics=asked.metrics,
        granularity=asked.granularity,
        file_format=file_format,
        log=parameters.log,
        title=parameters.title,
        stretches=named_stretches(recorded.diagnosis(), jobs[0], asked.granularity) if recorded is not None else (),
    )


def _line(job: Job, i: int, asked: Reading, buckets: int) -> Line:
    """Return the line to draw for job number i.

    A long curve is represented by the extremes of each bucket.
    """
    metrics = [metric for metric in with_bands(asked.metrics) if metric in asked.known[i]]
    if not metrics:
        return Line(job, (), {})
    own = asked.part([i], metrics)
    sample = own.sample(2 + 2 * len(metrics) * buckets)
    return Line(job, [number * own.stride for number in sample.x], sample.columns[0])
