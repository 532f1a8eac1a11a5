"""Routes that plot the curves of one or more jobs."""

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
from service.diagnosis_reader import NamedStretch, named_stretches, read_diagnosis
from service.heavy_work import Gate, Later
from service.http.strict_routes import StrictRoute
from service.http_cache import IfNoneMatch, Pictures, conditional, etag_of
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
        default="cost", description=f"Names, separated by commas: one diagram for each, {_MOST_DIAGRAMS} at most."
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
        return _drawn(store, [store.get(job_id)], file_format, parameters)

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
        return _drawn(store, of_one_experiment(store, parameters.job), file_format, parameters)

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


def to_draw(store: JobStore, jobs: Sequence[Job], parameters: PlotParameters) -> Reading:
    """Return a reading of the requested metrics of these jobs.

    Raises:
        UnknownMetric: none of the jobs records one of the metrics.
        InvalidRequest: there are too many metrics.
    """
    asked = Reading(store, [job.id for job in jobs], granularity=parameters.granularity, metrics=parameters.names())
    if len(asked.metrics) > _MOST_DIAGRAMS:
        message = f"must name at most {_MOST_DIAGRAMS}, as each gets a diagram; known: {', '.join(asked.metrics)}"
        raise InvalidRequest(f"metrics {message}", errors=[FieldError("/query/metrics", message)])
    return asked


def _drawn(store: JobStore, jobs: Sequence[Job], file_format: Format, parameters: PlotParameters) -> bytes:
    asked = to_draw(store, jobs, parameters)
    buckets = min(_BUCKETS, max(_MOST_VALUES // (2 * len(jobs) * len(asked.metrics) ** 2), 1))
    return draw(
        [_line(store, job, known, asked, buckets) for job, known in zip(jobs, asked.known, strict=True)],
        metrics=asked.metrics,
        granularity=asked.granularity,
        file_format=file_format,
        log=parameters.log,
        title=parameters.title,
        stretches=_stretches(store, jobs, asked),
    )


def _stretches(store: JobStore, jobs: Sequence[Job], asked: Reading) -> Sequence[NamedStretch]:
    """Return the stretches to shade: one job's warnings, none for several jobs."""
    if len(jobs) > 1:
        return ()
    [job] = jobs
    return named_stretches(read_diagnosis(store, job), job, asked.granularity)


def _line(store: JobStore, job: Job, known: Sequence[str], asked: Reading, buckets: int) -> Line:
    """Return the line to draw for one job.

    A long curve is represented by the extremes of each bucket.
    """
    metrics = [metric for metric in with_bands(asked.metrics) if metric in known]
    if not metrics:
        return Line(job, (), {})
    reading = Reading(store, [job.id], granularity=asked.granularity, metrics=metrics)
    sample = reading.sample(2 + 2 * len(metrics) * buckets)
    return Line(job, [number * reading.stride for number in sample.x], sample.columns[0])
