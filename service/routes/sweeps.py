"""Routes of sweeps: many jobs submitted, read, cancelled and retried as one."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from costcurve.core.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    StoreUnavailable,
    SweepNotFound,
)
from costcurve.core.sweep import SweepSubmission
from costcurve.store.pagination import CellOrder, CellQuery
from service.dependencies import Store
from service.http.strict_routes import StrictRoute, Whole
from service.problems import documents
from service.responses import BODY_ERRORS, CREATED, LIMIT_ERRORS, IdempotencyKey, set_created_headers
from service.schemas.sweeps import CellList, SweepList, SweepOut, SweepWithLeaders

router = APIRouter(route_class=StrictRoute, tags=["sweeps"], responses=documents(InvalidRequest, StoreUnavailable))


class SweepListParameters(BaseModel):
    """Place and size of a page of sweeps."""

    model_config = ConfigDict(extra="forbid")

    limit: Whole = Field(default=50, ge=1, le=200)
    cursor: str | None = None


class LeaderboardParameters(BaseModel):
    """Length of a leaderboard."""

    model_config = ConfigDict(extra="forbid")

    leaderboard: Whole = Field(
        default=10, ge=0, le=200, description="Number of best cells in the response; 0 is the fastest."
    )


class CellParameters(BaseModel):
    """Order, place and size of a page of cells."""

    model_config = ConfigDict(extra="forbid")

    order: CellOrder = Field(
        default="rank", description="`rank`: the best cells first; `cell`: in the order of their numbers."
    )
    limit: Whole = Field(default=50, ge=1, le=200)
    cursor: str | None = None


@router.post(
    "/sweeps",
    status_code=201,
    responses=documents(*BODY_ERRORS, *LIMIT_ERRORS, IdempotencyKeyReused) | CREATED,
)
def submit_sweep(
    body: SweepSubmission, store: Store, response: Response, idempotency_key: IdempotencyKey = None
) -> SweepOut:
    """Queue one job for each repeat of each cell of a grid and each variant, all or none."""
    submitted = store.submit_sweep(body, idempotency_key=idempotency_key)
    set_created_headers(response, f"/v1/sweeps/{submitted.sweep.id}", replayed=submitted.replayed)
    return SweepOut.of(submitted.sweep)


@router.get("/sweeps")
def list_sweeps(parameters: Annotated[SweepListParameters, Query()], store: Store) -> SweepList:
    """Return one page of sweeps, the newest first."""
    return SweepList.of(store.sweeps(limit=parameters.limit, cursor=parameters.cursor))


@router.get("/sweeps/{sweep_id}", responses=documents(SweepNotFound))
def get_sweep(sweep_id: str, parameters: Annotated[LeaderboardParameters, Query()], store: Store) -> SweepWithLeaders:
    """Return the sweep in its current state, and its best cells.

    `GET /v1/jobs?sweep_id=` lists its jobs.
    """
    with store.read_transaction() as seen:
        page = seen.cells(sweep_id, CellQuery(limit=parameters.leaderboard))
        verdict = seen.verdict(page.sweep)
    return SweepWithLeaders.with_leaders(page, verdict)


@router.get("/sweeps/{sweep_id}/cells", responses=documents(SweepNotFound))
def list_cells(sweep_id: str, parameters: Annotated[CellParameters, Query()], store: Store) -> CellList:
    """Return one page of the sweep's cells.

    Each cell has its settings, its jobs, and the mean and spread of their results.
    """
    query = CellQuery(order=parameters.order, limit=parameters.limit, cursor=parameters.cursor)
    return CellList.of(store.cells(sweep_id, query))


@router.post("/sweeps/{sweep_id}/cancel", status_code=202, responses=documents(SweepNotFound))
def cancel_sweep(sweep_id: str, store: Store) -> SweepOut:
    """Cancel all jobs of the sweep that have not ended.

    Each is cancelled as by its own cancel request. Repeating the request is not an error.
    """
    return SweepOut.of(store.cancel_sweep(sweep_id))


@router.post("/sweeps/{sweep_id}/retry", status_code=202, responses=documents(SweepNotFound, *LIMIT_ERRORS))
def retry_sweep(sweep_id: str, store: Store) -> SweepOut:
    """Queue a new job with the same spec in place of each failed job.

    If no job has failed, nothing is queued.
    """
    return SweepOut.of(store.retry_sweep(sweep_id))
