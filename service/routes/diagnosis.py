"""Why trainings go as they do: one job's, and that of several beside each other."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from jobs.curves import Curve
from jobs.diagnosis import Compared, compare, course_of, diagnose, metrics_diagnosed
from jobs.errors import InvalidRequest, JobNotFound, StoreUnavailable
from jobs.job import Job
from jobs.spec import MnistSpec
from jobs.store import JobStore
from service.dependencies import Store
from service.diagnosis_schemas import ComparisonDiagnosisOut, DiagnosisOut
from service.problems import documents
from service.reading import Reading
from service.strict import StrictRoute

router = APIRouter(
    route_class=StrictRoute, tags=["results"], responses=documents(JobNotFound, InvalidRequest, StoreUnavailable)
)


class ComparedParameters(BaseModel):
    """Which jobs."""

    model_config = ConfigDict(extra="forbid")

    job: list[str] = Field(min_length=2, max_length=16)


@router.get("/jobs/{job_id}/diagnosis")
def get_diagnosis(job_id: str, store: Store) -> DiagnosisOut:
    """Why the job's training goes, or went, as it does: findings in plain words, each with its figures and a cure."""
    job = store.get(job_id)
    start = store.start(job_id)
    return DiagnosisOut.of(job_id, diagnose(job, start, _runs(store, job)), start)


@router.get("/compare/diagnosis")
def get_comparison_diagnosis(
    parameters: Annotated[ComparedParameters, Query()], store: Store
) -> ComparisonDiagnosisOut:
    """What the differences between some jobs come to."""
    job_ids = list(dict.fromkeys(parameters.job))
    return ComparisonDiagnosisOut.of(job_ids, compare([_compared(store, job_id) for job_id in job_ids]))


def _compared(store: JobStore, job_id: str) -> Compared:
    job = store.get(job_id)
    if not isinstance(job.spec, MnistSpec):
        return Compared(job_id, job.spec, None)
    curve = Curve.joined(_runs(store, job))
    return Compared(job_id, job.spec, course_of(job, job.spec, store.start(job_id), curve))


def _runs(store: JobStore, job: Job) -> Iterator[Curve]:
    reading = Reading(store, [job.id], metrics=metrics_diagnosed(job.spec))
    return (run for [run] in reading.pieces())
