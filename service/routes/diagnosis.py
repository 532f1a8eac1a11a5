"""Routes that explain trainings: one job's, and several jobs' compared."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from costcurve.analysis.diagnosis import Compared, compare, course_of
from costcurve.core.curve import Curve
from costcurve.core.errors import InvalidRequest, JobNotFound, StoreUnavailable
from costcurve.core.spec import MnistSpec
from costcurve.store import JobStore
from service.curve_reader import Reading
from service.dependencies import ReadingGate, Store
from service.diagnosis_reader import Recorded
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

    Each finding has its figures, a spec that would test it (`try`), and its newest trial. Both may be null.
    """

    def diagnosed() -> Response:
        with store.read_transaction() as seen:
            recorded, trials = Recorded.of(seen, seen.get(job_id)), seen.trials(job_id)
        return json_of(DiagnosisOut.of(job_id, recorded.diagnosis(), recorded.start, trials))

    return Later(gate, diagnosed)


@router.get("/compare/diagnosis", response_model=ComparisonDiagnosisOut)
def get_comparison_diagnosis(
    parameters: Annotated[ComparedParameters, Query()], store: Store, gate: ReadingGate
) -> Response:
    """Explain how the differences between the jobs affected their trainings."""
    job_ids = list(dict.fromkeys(parameters.job))

    def compared() -> Response:
        return json_of(ComparisonDiagnosisOut.of(job_ids, compare(_compared(store, job_ids))))

    return Later(gate, compared)


def _compared(store: JobStore, job_ids: Sequence[str]) -> Sequence[Compared]:
    with store.read_transaction() as seen:
        jobs = seen.get_all(job_ids)
        networks = [job.id for job in jobs if isinstance(job.spec, MnistSpec)]
        starts = dict(zip(networks, seen.starts(networks), strict=True)) if networks else {}
        curves = Reading(seen, networks) if networks else None
        if curves is not None:
            curves.load()
    courses = {}
    for job in jobs:
        if isinstance(job.spec, MnistSpec) and curves is not None:
            own = curves.part([networks.index(job.id)], None)
            curve = Curve.joined(run for [run] in own.pieces())
            courses[job.id] = course_of(job, job.spec, starts[job.id], curve)
    return [Compared(job.id, job.spec, courses.get(job.id)) for job in jobs]
