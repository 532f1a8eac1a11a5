"""Routes that compare several jobs, as JSON and CSV."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field, field_validator

from costcurve.core.errors import InvalidRequest, JobNotFound, StoreUnavailable, UnknownMetric
from costcurve.core.job import Job
from costcurve.core.validation import FieldError, bad_value
from costcurve.store import JobStore
from service.dependencies import ReadingGate, Store
from service.export.csv_export import Csv
from service.heavy_work import Later, json_of
from service.http.strict_routes import StrictRoute, Whole
from service.http_cache import IfNoneMatch, conditional, etag_of
from service.problems import documents
from service.routes.curves import TAGGED, CurveParameters, csv_answer, reading_of
from service.schemas.curves import ComparisonOut, compared_curves

router = APIRouter(
    route_class=StrictRoute,
    tags=["results"],
    responses=documents(JobNotFound, InvalidRequest, UnknownMetric, StoreUnavailable),
)

MOST_JOBS = 16
# Points of a comparison: the maximum and the default. Each point has a value of every job and metric.
_MAX_POINTS = 10_000
_POINTS = 1_000


def all_different(job_ids: list[str]) -> list[str]:
    """Return the job ids. Raise ValueError if one of them is repeated."""
    if len(set(job_ids)) < len(job_ids):
        raise bad_value("must name each job only once")
    return job_ids


class ComparisonParameters(CurveParameters):
    """Jobs to compare, and the part of their curves to return."""

    job: list[str] = Field(min_length=2, max_length=MOST_JOBS)
    max_points: Whole | None = Field(
        default=None,
        ge=1,
        le=_MAX_POINTS,
        description=f"As for one curve. The minimum is two for each job and metric, plus two for each job. "
        f"The default is {_POINTS:,}, or the minimum if that is more.",
    )

    _all_different = field_validator("job")(all_different)


class CsvComparisonParameters(ComparisonParameters):
    """Parameters of the CSV comparison: by default, it has all points."""

    max_points: Whole | None = Field(
        default=None, ge=1, le=_MAX_POINTS, description="As for one curve. Default: all points."
    )


@router.get("/compare", response_model=ComparisonOut, responses=TAGGED)
def get_comparison(
    parameters: Annotated[ComparisonParameters, Query()],
    store: Store,
    gate: ReadingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Compare jobs: differences of their specs, results, and curves on one axis.

    `curves` is null if the jobs are of different experiments, which share no axis.
    """
    etag = etag_of(store.versions(parameters.job), parameters)
    return conditional(etag, if_none_match, lambda: Later(gate, lambda: json_of(_compared(store, parameters))))


def _compared(store: JobStore, parameters: ComparisonParameters) -> ComparisonOut:
    with store.read_transaction() as seen:
        jobs = seen.get_all(parameters.job)
        if len({job.spec.experiment for job in jobs}) > 1:
            return ComparisonOut.of(jobs, None)
        reading = reading_of(seen, parameters.job, parameters)
        reading.load()
    sample = reading.sample(parameters.max_points or max(_POINTS, reading.fewest_points))
    return ComparisonOut.of(jobs, compared_curves(jobs, parameters.granularity, reading, sample))


@router.get("/compare.csv", response_class=Csv)
def get_comparison_csv(
    parameters: Annotated[CsvComparisonParameters, Query()], store: Store, gate: ReadingGate
) -> Response:
    """Return the curves of several jobs as CSV, on one x axis.

    The columns are x, and `{job_id}.{metric}` for each job and metric.
    """

    def read() -> Response:
        with store.read_transaction() as seen:
            of_one_experiment(seen, parameters.job)
            reading = reading_of(seen, parameters.job, parameters)
            if parameters.max_points is not None:
                reading.load()
        names = tuple(f"{job_id}.{metric}" for job_id in parameters.job for metric in reading.metrics)
        return csv_answer(gate, reading, names, parameters.max_points)

    return Later(gate, read)


def of_one_experiment(store: JobStore, job_ids: Sequence[str]) -> tuple[Job, ...]:
    """Return the jobs. Raise InvalidRequest if their curves share no axis."""
    jobs = store.get_all(job_ids)
    if len({job.spec.experiment for job in jobs}) > 1:
        message = "must all be of one experiment: a neuron's updates and MNIST's epochs share no axis"
        raise InvalidRequest(f"the jobs {message}", errors=[FieldError("/query/job", message)])
    return jobs
