"""Routes of trials: a job's spec as it is and changed, side by side."""

from fastapi import APIRouter, Response

from costcurve.analysis.trial_proposal import proposal_of
from costcurve.core.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    JobNotFound,
    NothingToTry,
    StoreUnavailable,
    SweepNotFound,
    TrialNotExtendable,
)
from costcurve.core.trial import Proposal, TrialExtension, TrialRequest
from costcurve.store import JobStore
from service.dependencies import ReadingGate, Store
from service.diagnosis_reader import Recorded
from service.heavy_work import Later, json_of
from service.http.strict_routes import StrictRoute
from service.problems import documents
from service.responses import BODY_ERRORS, CREATED, LIMIT_ERRORS, IdempotencyKey, set_created_headers
from service.schemas.sweeps import SweepOut

router = APIRouter(
    route_class=StrictRoute,
    tags=["sweeps"],
    responses=documents(InvalidRequest, StoreUnavailable, *BODY_ERRORS),
)


@router.post(
    "/jobs/{job_id}/trial",
    status_code=201,
    response_model=SweepOut,
    responses=documents(JobNotFound, NothingToTry, *LIMIT_ERRORS, IdempotencyKeyReused) | CREATED,
)
def submit_trial(
    job_id: str,
    store: Store,
    gate: ReadingGate,
    body: TrialRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Queue a sweep of two cells with the same seeds: the job's spec as it is, and with one change.

    Without a body, the change is that of the first finding that has one. `GET /v1/sweeps/{sweep_id}` has the verdict.
    """
    request = body or TrialRequest()

    def submitted() -> Response:
        found = store.submit_trial(
            job_id, request, lambda: _proposal(store, job_id, request), idempotency_key=idempotency_key
        )
        response = json_of(SweepOut.of(found.sweep))
        response.status_code = 201
        set_created_headers(response, f"/v1/sweeps/{found.sweep.id}", replayed=found.replayed)
        return response

    return Later(gate, submitted)


@router.post(
    "/sweeps/{sweep_id}/extend",
    status_code=202,
    responses=documents(SweepNotFound, TrialNotExtendable, *LIMIT_ERRORS),
)
def extend_trial(sweep_id: str, body: TrialExtension, store: Store) -> SweepOut:
    """Queue further seeds of an ended trial, for another look at its verdict.

    The trial must have been submitted with more than one of `looks`. Repeating the request is not an error.
    """
    return SweepOut.of(store.extend_trial(sweep_id, body.repeats))


def _proposal(store: JobStore, job_id: str, request: TrialRequest) -> Proposal:
    """Return the change that the client requests, or that the job's diagnosis proposes."""
    if request.finding is None and request.try_ is not None:
        return Proposal(None, request.try_)
    with store.read_transaction() as seen:
        recorded = Recorded.of(seen, seen.get(job_id))
    return proposal_of(recorded.diagnosis(), request.finding, request.try_)
