"""Curves as pictures, one job's or several jobs' on the same axes."""

from math import ceil
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from jobs.curves import metrics_of
from jobs.envelope import envelopes
from jobs.errors import InvalidRequest, JobNotFound, StoreUnavailable, UnknownMetric
from jobs.job import Job
from jobs.store import JobStore
from jobs.validation import FieldError, Text
from service.dependencies import Store
from service.drawing import MEDIA_TYPES, Format
from service.plots import Line, draw
from service.problems import documents
from service.routes.curves import MetricsParameter, runs_of

router = APIRouter(
    tags=["results"],
    default_response_class=Response,
    responses=documents(JobNotFound, InvalidRequest, UnknownMetric, StoreUnavailable)
    | {200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
)


# A plot is some hundred pixels wide: more than twice as many points, two a bucket, would not be seen.
BUCKETS = 2000


class PlotParameters(MetricsParameter):
    """Which metrics, how drawn, under which title."""

    metrics: str | None = Field(default="cost", description="Names, separated by commas: one diagram for each.")
    log: bool = False
    title: Annotated[Text, Field(max_length=200)] | None = None


class ComparisonParameters(PlotParameters):
    """Which jobs, and how drawn."""

    job: list[str] = Field(min_length=2, max_length=16)


@router.get("/jobs/{job_id}/curve.{file_format}")
def get_plot(
    job_id: str, file_format: Format, parameters: Annotated[PlotParameters, Query()], store: Store
) -> Response:
    """The curve as a plot."""
    return _plot([job_id], file_format, parameters, store)


@router.get("/compare.{file_format}")
def get_comparison(file_format: Format, parameters: Annotated[ComparisonParameters, Query()], store: Store) -> Response:
    """The curves of several jobs of one experiment on the same axes; the legend names what differs."""
    return _plot(parameters.job, file_format, parameters, store)


def _plot(job_ids: list[str], file_format: Format, parameters: PlotParameters, store: JobStore) -> Response:
    jobs = [store.get(job_id) for job_id in dict.fromkeys(job_ids)]
    if len({job.spec.experiment for job in jobs}) > 1:
        message = "must all be of one experiment: a neuron's updates and MNIST's epochs share no axis"
        raise InvalidRequest(f"the jobs {message}", errors=[FieldError("/query/job", message)])
    metrics = parameters.names() or metrics_of(jobs[0].spec)
    lines = [_line(store, job, metrics) for job in jobs]
    picture = draw(lines, metrics=metrics, file_format=file_format, log=parameters.log, title=parameters.title)
    return Response(picture, media_type=MEDIA_TYPES[file_format])


def _line(store: JobStore, job: Job, metrics: tuple[str, ...]) -> Line:
    total = store.curve(job.id, metrics=metrics, limit=1).total_points
    width = max(ceil(total / BUCKETS), 1)
    return Line(job, envelopes(runs_of(store, job.id, metrics), metrics, width=width))
