"""Routes that explain trainings: one job's, and several jobs' compared."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.diagnosis import Compared, compare, course_of
from costcurve.core.curve import Curve
from costcurve.core.errors import InvalidRequest, JobNotFound, StoreUnavailable
from costcurve.core.spec import MnistSpec
from costcurve.store import JobStore
from service.dependencies import ReadingGate, Store
from service.diagnosis_reader import curve_chunks, read_diagnosis
from service.heavy_work import Later, json_of
from service.http.strict_routes import StrictRoute
from service.problems import documents
from service.schemas.diagnosis import ComparisonDiagnosisOut, DiagnosisOut

router = APIRouter(
    route_class=StrictRoute, tags=["results"], responses=documents(JobNotFound, InvalidRequest, StoreUnavailable)
)


class ComparedParameters(BaseModel):
    """Jobs to compare."""

    model_config = ConfigDict(extra="forbid")

    job: list[str] = Field(min_length=2, max_length=16)


@router.get("/jobs/{job_id}/diagnosis", response_model=DiagnosisOut)
def get_diagnosis(job_id: str, store: Store, gate: ReadingGate) -> Response:
    """Explain the job's training by findings in plain words.

    Each finding has its figures, and a cure to try; `try` is null if there is none.
    """

    def diagnosed() -> Response:
        job = store.get(job_id)
        return json_of(DiagnosisOut.of(job_id, read_diagnosis(store, job), store.start(job_id)))

    return Later(gate, diagnosed)


@router.get("/compare/diagnosis", response_model=ComparisonDiagnosisOut)
def get_comparison_diagnosis(
    parameters: Annotated[ComparedParameters, Query()], store: Store, gate: ReadingGate
) -> Response:
    """Explain how the differences between the jobs affected their trainings."""
    job_ids = list(dict.fromkeys(parameters.job))

    def compared() -> Response:
        found = compare([_compared(store, job_id) for job_id in job_ids])
        return json_of(ComparisonDiagnosisOut.of(job_ids, found))

    return Later(gate, compared)


def _compared(store: JobStore, job_id: str) -> Compared:
    job = store.get(job_id)
    if not isinstance(job.spec, MnistSpec):
        return Compared(job_id, job.spec, None)
    curve = Curve.joined(curve_chunks(store, job))
    return Compared(job_id, job.spec, course_of(job, job.spec, store.start(job_id), curve))
