"""The JSON of curves and comparisons."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Self

from pydantic import BaseModel, Field

from costcurve.analysis.sampling import Sample
from costcurve.core.curve import Granularity
from costcurve.core.job import Job
from costcurve.core.spec_diff import Difference, differences
from costcurve.core.status import JobStatus
from costcurve.store.curve_chunks import CurvePage
from service.curve_reader import Reading

Column = list[float | None]


class CurveOut(BaseModel):
    """Part of a curve, as columns.

    A request with `from={next_from}` later returns only new points.
    """

    job_id: str
    granularity: Granularity
    x: list[int] = Field(
        description="With `epoch`, numbers of epochs; with `step`, of the first of each hundred steps."
    )
    series: dict[str, Column] = Field(description="Values by metric; null if infinite or not recorded.")
    total_points: int = Field(description="Number of points in the range.")
    sampled: bool = Field(description="True if the response leaves out some of them.")
    next_from: int

    @classmethod
    def of_page(cls, job_id: str, granularity: Granularity, page: CurvePage) -> Self:
        """Return all points of a page."""
        return cls(
            job_id=job_id,
            granularity=granularity,
            x=list(page.x),
            series={metric: column_of(values) for metric, values in page.curve.series.items()},
            total_points=page.total_points,
            sampled=False,
            next_from=page.next_from,
        )

    @classmethod
    def of_sample(cls, job_id: str, granularity: Granularity, reading: Reading, sample: Sample) -> Self:
        """Return the sampled points of a range."""
        return cls(
            job_id=job_id,
            granularity=granularity,
            x=[number * reading.stride for number in sample.x],
            series={metric: column_of(values) for metric, values in sample.columns[0].items()},
            total_points=reading.total_points,
            sampled=len(sample.x) < reading.total_points,
            next_from=max(reading.ends) * reading.stride,
        )


class ComparedJob(BaseModel):
    """One of the compared jobs."""

    id: str
    name: str | None
    status: JobStatus
    experiment: str
    engine: str
    device: str
    version: int


class SpecDifferenceOut(BaseModel):
    """A field of the spec that differs between jobs, and its values.

    A value is null if the job does not have the field.
    """

    field: str
    values: dict[str, Any] = Field(description="Values by job id.")
    derived: bool = Field(description="True if the field follows from other fields.")


class ResultOut(BaseModel):
    """A figure of the results, and its value for each job.

    A value is null if the job does not have it, or not yet.
    """

    field: str
    values: dict[str, Any] = Field(description="Values by job id.")


class ComparedCurves(BaseModel):
    """Curves on one axis: `series[metric][job_id][i]` belongs to `x[i]`.

    A value is null if the job has no point there.
    """

    granularity: Granularity
    x: list[int]
    series: dict[str, dict[str, Column]]
    total_points: int = Field(description="Number of x in the range at which at least one job has a point.")
    sampled: bool
    next_from: int = Field(description="New points will have this x or a larger one.")


class ComparisonOut(BaseModel):
    """Comparison of several jobs: differences of their specs, results and curves."""

    jobs: list[ComparedJob]
    differences: list[SpecDifferenceOut]
    results: list[ResultOut]
    curves: ComparedCurves | None = Field(description="Null for jobs of different experiments, which share no axis.")

    @classmethod
    def of(cls, jobs: Sequence[Job], curves: ComparedCurves | None) -> Self:
        """Return the comparison of these jobs, in this order."""
        ids = [job.id for job in jobs]
        return cls(
            jobs=[
                ComparedJob(
                    id=job.id,
                    name=job.name,
                    status=job.status,
                    experiment=job.spec.experiment,
                    engine=job.engine,
                    device=job.device,
                    version=job.version,
                )
                for job in jobs
            ],
            differences=[_difference(ids, found) for found in differences([job.spec for job in jobs])],
            results=_results(jobs),
            curves=curves,
        )


def compared_curves(jobs: Sequence[Job], granularity: Granularity, reading: Reading, sample: Sample) -> ComparedCurves:
    """Return the sampled points of the jobs' curves on one axis."""
    growing = [end for job, end in zip(jobs, reading.ends, strict=True) if not job.is_terminal]
    return ComparedCurves(
        granularity=granularity,
        x=[number * reading.stride for number in sample.x],
        series={
            metric: {job.id: column_of(sample.columns[i][metric]) for i, job in enumerate(jobs)}
            for metric in reading.metrics
        },
        total_points=reading.total_points,
        sampled=len(sample.x) < reading.total_points,
        next_from=min(growing, default=max(reading.ends)) * reading.stride,
    )


def column_of(values: Iterable[float | None]) -> Column:
    """Replace infinity and NaN by None, as JSON has neither."""
    return [value if value is not None and isfinite(value) else None for value in values]


def _difference(ids: Sequence[str], found: Difference) -> SpecDifferenceOut:
    return SpecDifferenceOut(field=found.field, values=dict(zip(ids, found.values, strict=True)), derived=found.derived)


def _results(jobs: Sequence[Job]) -> list[ResultOut]:
    results: dict[str, Mapping[str, Any]] = {
        job.id: job.result.model_dump(mode="json", exclude={"experiment"}) if job.result is not None else {}
        for job in jobs
    }
    fields = dict.fromkeys(field for result in results.values() for field in result)
    return [
        ResultOut(field=field, values={job_id: result.get(field) for job_id, result in results.items()})
        for field in fields
    ]
