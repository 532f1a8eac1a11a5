"""Sweeps: many jobs submitted, looked at and cancelled as one."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import IdempotencyKeyReused, InvalidRequest, StoreUnavailable, SweepNotFound
from jobs.sweeps import SweepSubmission
from service.creation import BODY_ERRORS, CREATED, IdempotencyKey, tell_created
from service.dependencies import Store
from service.limits import takes_json
from service.problems import documents
from service.schemas import SweepList, SweepOut

router = APIRouter(tags=["sweeps"], responses=documents(InvalidRequest, StoreUnavailable))


class SweepListParameters(BaseModel):
    """Place and size of a page of sweeps."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None


@router.post(
    "/sweeps",
    status_code=201,
    dependencies=[Depends(takes_json)],
    responses=documents(*BODY_ERRORS, InvalidRequest, IdempotencyKeyReused) | CREATED,
)
def submit_sweep(
    body: SweepSubmission, store: Store, response: Response, idempotency_key: IdempotencyKey = None
) -> SweepOut:
    """Queue one job for each cell of a grid and each repeat: all of them, or none."""
    submitted = store.submit_sweep(body, idempotency_key=idempotency_key)
    tell_created(response, f"/v1/sweeps/{submitted.sweep.id}", replayed=submitted.replayed)
    return SweepOut.of(submitted.sweep)


@router.get("/sweeps")
def list_sweeps(parameters: Annotated[SweepListParameters, Query()], store: Store) -> SweepList:
    """One page of sweeps, the newest first."""
    return SweepList.of(store.sweeps(limit=parameters.limit, cursor=parameters.cursor))


@router.get("/sweeps/{sweep_id}", responses=documents(SweepNotFound))
def get_sweep(sweep_id: str, store: Store) -> SweepOut:
    """The sweep as it stands; its jobs are listed by `GET /v1/jobs?sweep_id=`."""
    return SweepOut.of(store.sweep(sweep_id))


@router.post("/sweeps/{sweep_id}/cancel", status_code=202, responses=documents(SweepNotFound))
def cancel_sweep(sweep_id: str, store: Store) -> SweepOut:
    """Cancel all of its jobs that have not ended, as each would be cancelled by itself. Twice is no error."""
    return SweepOut.of(store.cancel_sweep(sweep_id))
