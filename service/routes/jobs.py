"""Routes of jobs: submit, validate, read, list, change, delete, clone, fork, pause, resume and cancel."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from costcurve.core.errors import (
    IdempotencyKeyReused,
    InvalidRequest,
    InvalidTransition,
    JobNotFound,
    NotAcceptable,
    PreconditionFailed,
    StoreUnavailable,
)
from costcurve.core.job import Job
from costcurve.core.losses import Loss
from costcurve.core.placement import MAX_TAGS
from costcurve.core.status import JobStatus
from costcurve.core.submission import Clone, Fork, JobChanges, Submission
from costcurve.core.validation import bad_value
from costcurve.store import Submitted
from costcurve.store.pagination import JobQuery, Order, Page
from service.dependencies import Store
from service.heavy_work import json_of
from service.http.conditions import IfMatch, tag_of, while_it_matches
from service.http.strict_routes import StrictRoute, Whole
from service.http_cache import IfNoneMatch, conditional
from service.problems import documents
from service.responses import BODY_ERRORS, CREATED, LIMIT_ERRORS, TEXT_HEADER, IdempotencyKey, set_created_headers
from service.schemas.jobs import EventList, JobList, JobOut, SubmittedJobOut, ValidationOut

router = APIRouter(route_class=StrictRoute, tags=["jobs"], responses=documents(InvalidRequest, StoreUnavailable))

# Most repetitions of a filter; no filter has more than a few possible values.
MAX_VALUES = 16


class ListParameters(BaseModel):
    """Filters, order and page of a list of jobs."""

    model_config = ConfigDict(extra="forbid")

    status: list[JobStatus] = Field(
        default=[], max_length=MAX_VALUES, description="May be repeated; a job must match one of them."
    )
    experiment: list[Literal["neuron", "mnist"]] = Field(
        default=[], max_length=MAX_VALUES, description="May be repeated; a job must match one of them."
    )
    loss: list[Loss] = Field(
        default=[], max_length=MAX_VALUES, description="May be repeated; a job must match one of them."
    )
    sweep_id: str | None = None
    tag: list[str] = Field(
        default=[], max_length=MAX_TAGS, description="`key:value`. May be repeated; a job must have all of them."
    )
    order: Order = "-created_at"
    limit: Whole = Field(default=50, ge=1, le=200)
    cursor: str | None = None

    @field_validator("tag")
    @classmethod
    def _key_and_value(cls, tags: list[str]) -> list[str]:
        if any(":" not in tag for tag in tags):
            raise bad_value("must be key:value")
        return tags

    def query(self) -> JobQuery:
        """Return these parameters as a query to the store."""
        pairs = (tag.partition(":") for tag in self.tag)
        return JobQuery(
            status=tuple(self.status),
            experiment=tuple(self.experiment),
            loss=tuple(self.loss),
            sweep_id=self.sweep_id,
            tags=tuple((key, value) for key, _, value in pairs),
            order=self.order,
            limit=self.limit,
            cursor=self.cursor,
        )


@router.post(
    "/jobs",
    status_code=201,
    responses=documents(*BODY_ERRORS, *LIMIT_ERRORS, IdempotencyKeyReused) | CREATED,
)
def submit_job(
    body: Submission, store: Store, response: Response, idempotency_key: IdempotencyKey = None
) -> SubmittedJobOut:
    """Queue one training job; the response comes before training starts.

    It has warnings if the job is expected to learn slowly, or not at all.
    """
    return _created(store.submit(body, idempotency_key=idempotency_key), response)


def _created(submitted: Submitted, response: Response) -> SubmittedJobOut:
    set_created_headers(response, f"/v1/jobs/{submitted.job.id}", replayed=submitted.replayed)
    return SubmittedJobOut.of(submitted.job)


@router.post(
    "/jobs:validate",
    response_model=ValidationOut,
    responses=documents(*BODY_ERRORS),
)
def validate_job(body: Submission) -> ValidationOut:
    """Resolve a submission, estimate its cost and forecast its start, without queueing it."""
    return ValidationOut.of(body)


@router.get("/jobs", response_model=JobList)
def list_jobs(parameters: Annotated[ListParameters, Query()], store: Store) -> Page:
    """Return one page of the jobs that match all filters."""
    return store.list(parameters.query())


@router.get(
    "/jobs/{job_id}",
    response_model=JobOut,
    responses=documents(JobNotFound)
    | {
        200: {"headers": {"ETag": TEXT_HEADER}},
        304: {"description": "The job is unchanged: If-None-Match has its ETag."},
    },
)
def get_job(job_id: str, store: Store, if_none_match: IfNoneMatch = None) -> Response:
    """Return the job in its current state, with an ETag.

    The ETag is made from the job's version. It does not change with the job's place in the queue.
    """
    job = store.get(job_id)
    return conditional(tag_of(job), if_none_match, lambda: json_of(JobOut.model_validate(job)))


@router.patch(
    "/jobs/{job_id}",
    response_model=JobOut,
    responses=documents(JobNotFound, PreconditionFailed, *BODY_ERRORS) | {200: {"headers": {"ETag": TEXT_HEADER}}},
)
def update_job(job_id: str, body: JobChanges, store: Store, response: Response, if_match: IfMatch = None) -> Job:
    """Change a job's name, tags, priority or pin, in any state."""
    job = store.update(job_id, body, check=while_it_matches(if_match))
    response.headers["ETag"] = tag_of(job)
    return job


@router.delete(
    "/jobs/{job_id}", status_code=204, responses=documents(JobNotFound, InvalidTransition, PreconditionFailed)
)
def delete_job(job_id: str, store: Store, if_match: IfMatch = None) -> None:
    """Delete a job that has ended, with its curve, events and idempotency key."""
    store.delete(job_id, check=while_it_matches(if_match))


@router.get("/jobs/{job_id}/events", responses=documents(JobNotFound, NotAcceptable))
def list_events(job_id: str, store: Store) -> EventList:
    """Return all events of the job, the oldest first."""
    return EventList.of(store.events(job_id))


@router.post(
    "/jobs/{job_id}/clone",
    status_code=201,
    responses=documents(JobNotFound, *BODY_ERRORS, *LIMIT_ERRORS, IdempotencyKeyReused) | CREATED,
)
def clone_job(
    job_id: str, store: Store, response: Response, body: Clone | None = None, idempotency_key: IdempotencyKey = None
) -> SubmittedJobOut:
    """Queue the same job again, except for the fields in the body.

    Without a body, the spec of the new job is the same.
    """
    return _created(store.clone(job_id, body or Clone(), idempotency_key=idempotency_key), response)


@router.post(
    "/jobs/{job_id}/fork",
    status_code=201,
    responses=documents(JobNotFound, *BODY_ERRORS, *LIMIT_ERRORS, IdempotencyKeyReused) | CREATED,
)
def fork_job(
    job_id: str, body: Fork, store: Store, response: Response, idempotency_key: IdempotencyKey = None
) -> SubmittedJobOut:
    """Queue a job that equals this one up to an epoch, bit for bit, and differs from there on.

    Its spec is that of this job with one more change in its `schedule`. Changes of this job from that epoch on are
    left out.
    """
    return _created(store.fork(job_id, body, idempotency_key=idempotency_key), response)


@router.post(
    "/jobs/{job_id}/pause",
    status_code=202,
    response_model=JobOut,
    responses=documents(JobNotFound, InvalidTransition),
)
def pause_job(job_id: str, store: Store) -> Job:
    """Pause a job at once, or through its worker if it is running.

    A running job pauses as soon as its worker receives the request. Repeating the request is not an error.
    """
    return store.pause(job_id)


@router.post(
    "/jobs/{job_id}/resume",
    status_code=202,
    response_model=JobOut,
    responses=documents(JobNotFound, InvalidTransition),
)
def resume_job(job_id: str, store: Store) -> Job:
    """Put a paused job back into the queue; it resumes where it stopped.

    Repeating the request is not an error.
    """
    return store.resume(job_id)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    response_model=JobOut,
    responses=documents(JobNotFound, InvalidTransition),
)
def cancel_job(job_id: str, store: Store) -> Job:
    """Cancel a job at once, or through its worker if it is running.

    A running job is cancelled as soon as its worker receives the request. Repeating the request is not an error.
    """
    return store.cancel(job_id)
