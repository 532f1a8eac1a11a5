# ruff: noqa: D417 - these are the client's own docstrings, and its callers never see `remote`
"""What the client can do, each operation once, as steps (exchange.py). Their documentation is the client's."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, Unpack

import httpx

from costcurve.client.arguments import checked_key, spec_fields, tag_filters
from costcurve.client.errors import CostCurveError, UnexpectedAnswer, WaitTimeout
from costcurve.client.plain_values import plain
from costcurve.client.polling import until_ended
from costcurve.client.request import Call, as_bytes, as_model, job_path
from costcurve.client.transport import Remote, Steps
from costcurve.client.types import (
    Event,
    EventList,
    Job,
    JobPage,
    Preset,
    PresetList,
    ServiceVersion,
    Validation,
    Worker,
    WorkerList,
)
from costcurve.core.errors import JobNotFound
from costcurve.core.spec import AnySpec

AnyGivenSpec = Mapping[str, Any] | AnySpec


class JobFields(TypedDict, total=False):
    """Where and when a job runs, and what it is called. A field that is None is left to the service."""

    preset: str | None
    device: str | None
    engine: str | None
    name: str | None
    tags: Mapping[str, str] | None
    priority: int | None
    max_runtime_seconds: float | None


class Overrides(TypedDict, total=False):
    """In what a clone differs. What is left out is as it is in the job that is cloned."""

    spec: Mapping[str, Any]
    device: str
    engine: str
    name: str | None
    tags: Mapping[str, str]
    priority: int
    max_runtime_seconds: float | None


class Changes(TypedDict, total=False):
    """What becomes of a job that was submitted. What is left out stays as it is."""

    name: str | None
    tags: Mapping[str, str]
    priority: int
    pinned: bool


class Filters(TypedDict, total=False):
    """Which jobs, in which order; `limit` is the size of a page. A filter that is None lets every job pass."""

    status: str | None
    experiment: str | None
    loss: str | None
    tags: Mapping[str, str] | None
    sweep_id: str | None
    order: Literal["created_at", "-created_at", "-best_accuracy"] | None
    limit: int | None


def submit(
    remote: Remote,
    /,
    spec: AnyGivenSpec | None = None,
    *,
    idempotency_key: str | None = None,
    **fields: Unpack[JobFields],
) -> Steps[Job]:
    """Queue one training job. It comes back at once, queued; `wait` for its end.

    Args:
        spec: what to train; with a preset, the fields in which the job differs from it.
        fields: `preset` (the name of a ready spec), `device`, `engine`, `name`, `tags`, `priority`,
            `max_runtime_seconds`.
        idempotency_key: 1 to 255 characters that name this submission. Sent again with the same key, it makes no second
            job, even from another program; a fresh one if None.

    Raises:
        ApiError: the service refused; status 422, and `errors` names each bad field, when the job is not valid.
        ServiceUnreachable: no answer came, though it was tried again. `uncertain` tells whether the job may have been
            accepted all the same.
    """
    body = submission_body(spec, fields)
    return remote.answer(Call("POST", "/v1/jobs", as_model(Job), body=body, key=checked_key(idempotency_key)))


def validate(remote: Remote, /, spec: AnyGivenSpec | None = None, **fields: Unpack[JobFields]) -> Steps[Validation]:
    """What `submit` with the same arguments would come to: the resolved spec, its cost, warnings. Queues nothing.

    Raises:
        ApiError: status 422, when the job is not valid; `errors` names each bad field.
    """
    return remote.answer(Call("POST", "/v1/jobs:validate", as_model(Validation), body=submission_body(spec, fields)))


def get(remote: Remote, /, job_id: str) -> Steps[Job]:
    """The job as it stands."""
    return remote.answer(Call("GET", job_path(job_id), as_model(Job)))


def list_jobs(remote: Remote, /, *, cursor: str | None = None, **filters: Unpack[Filters]) -> Steps[JobPage]:
    """One page of jobs, the newest first unless `order` says otherwise; `iterate` goes through all pages.

    Args:
        cursor: the `next_cursor` of the page before.
        filters: `status`, `experiment`, `loss`, `tags`, `sweep_id`, `order`, `limit` (1 to 200; 50 if not given).
    """
    query: dict[str, Any] = {**filters, "cursor": cursor}
    query["tag"] = tag_filters(query.pop("tags", None))
    return remote.answer(Call("GET", "/v1/jobs", as_model(JobPage), query=query))


def wait(
    remote: Remote,
    /,
    job_id: str,
    *,
    timeout: float | None = None,
    poll: float = 1.0,
    on_update: Callable[[Job], object] | None = None,
) -> Steps[Job]:
    """The job, once it has ended, however it ended: look at its `status`, its `result` and its `error`.

    Outlives a restart of the service.

    Args:
        job_id: the job.
        timeout: seconds after which to stop waiting; None waits as long as it takes.
        poll: the longest pause between two looks, in seconds; the first looks come quicker.
        on_update: called with the job at the first look, and whenever it has changed.

    Raises:
        WaitTimeout: the job has not ended in time. It goes on.
    """
    etag = ""

    def look(seen: Job | None, deadline: float | None) -> Steps[Job]:
        nonlocal etag
        headers = {"If-None-Match": etag} if etag else {}
        call = Call("GET", job_path(job_id), _news, headers=headers)
        news = yield from remote.answer(call, deadline=deadline)
        if news is not None:
            job, etag = news
            return job
        if seen is None:
            raise UnexpectedAnswer(remote.url, "it says that a job has not changed, but never told its state")
        return seen

    return until_ended(remote, look, timeout=timeout, poll=poll, on_update=on_update, too_late=WaitTimeout)


def pause(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Put the job aside: a queued one at once, a running one as soon as its worker hears of it. Twice is no error.

    Raises:
        ApiError: status 409, when the job has ended, or is about to be cancelled.
    """
    return remote.answer(Call("POST", job_path(job_id, "/pause"), as_model(Job)))


def resume(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Put the paused job back into the queue; it goes on where it was. One that is not paused goes on anyway.

    Raises:
        ApiError: status 409, when the job has ended.
    """
    return remote.answer(Call("POST", job_path(job_id, "/resume"), as_model(Job)))


def cancel(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Cancel the job: a waiting one at once, a running one as soon as its worker hears of it. Twice is no error.

    Raises:
        ApiError: status 409, when the job has already succeeded or failed.
    """
    return remote.answer(Call("POST", job_path(job_id, "/cancel"), as_model(Job)))


def clone(
    remote: Remote, /, job_id: str, *, idempotency_key: str | None = None, **overrides: Unpack[Overrides]
) -> Steps[Job]:
    """Queue the same job again, but for the overrides. The new job's `parent_id` is the job's id.

    Args:
        job_id: the job.
        idempotency_key: as for `submit`.
        overrides: `spec` (the fields in which it differs), `device`, `engine`, `name`, `tags`, `priority`,
            `max_runtime_seconds`. None takes a name or a limit away.

    Raises:
        ApiError: the service refused; status 422, and `errors` names each bad field, when they do not fit the job.
        ServiceUnreachable: as for `submit`.
    """
    path = job_path(job_id, "/clone")
    return remote.answer(
        Call("POST", path, as_model(Job), body=plain(overrides, "overrides"), key=checked_key(idempotency_key))
    )


def update(remote: Remote, /, job_id: str, **changes: Unpack[Changes]) -> Steps[Job]:
    """Change what the job is called, how urgent it is, or whether it is kept; whatever its state.

    Args:
        job_id: the job.
        changes: `name` (None takes it away), `tags` (all of them), `priority`, `pinned`.

    Raises:
        ApiError: status 422, and `errors` names each bad field.
    """
    return remote.answer(Call("PATCH", job_path(job_id), as_model(Job), body=plain(changes, "changes")))


def delete(remote: Remote, /, job_id: str) -> Steps[None]:
    """Have the service forget the job, which must have ended, and everything that belongs to it.

    Raises:
        ApiError: status 409, when the job has not ended; status 404, when there was no such job.
    """
    return remote.answer(Call("DELETE", job_path(job_id), _nothing, media_type=None, done_code=JobNotFound.code))


def events(remote: Remote, /, job_id: str) -> Steps[list[Event]]:
    """All that happened to the job, the first first."""
    listed = yield from remote.answer(Call("GET", job_path(job_id, "/events"), as_model(EventList)))
    return listed.items


def workers(remote: Remote, /) -> Steps[list[Worker]]:
    """The workers that are alive."""
    listed = yield from remote.answer(Call("GET", "/v1/workers", as_model(WorkerList)))
    return listed.items


def presets(remote: Remote, /) -> Steps[list[Preset]]:
    """The ready specs, the article's own experiments first."""
    listed = yield from remote.answer(Call("GET", "/v1/presets", as_model(PresetList)))
    return listed.items


def version(remote: Remote, /) -> Steps[str]:
    """The service's version."""
    answer = yield from remote.answer(Call("GET", "/v1/version", as_model(ServiceVersion)))
    return answer.version


def ready(remote: Remote, /, *, timeout: float = 5) -> Steps[bool]:
    """Whether the service answers within `timeout` seconds, and can reach its store. Asks once, and raises nothing."""
    try:
        yield from remote.answer(Call("GET", "/readyz", as_bytes, timeout=timeout), retry_seconds=0)
    except CostCurveError:
        return False
    return True


def submission_body(spec: AnyGivenSpec | None, fields: JobFields) -> dict[str, Any]:
    """The body of a submission; what is None is left to the service."""
    given = {name: plain(value, name) for name, value in fields.items() if value is not None}
    return given if spec is None else {**given, "spec": spec_fields(spec)}


def _news(response: httpx.Response) -> tuple[Job, str] | None:
    """Return the job and its ETag, or None if the service says that it has not changed."""
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return None
    return Job.model_validate_json(response.content), response.headers.get("ETag", "")


def _nothing(_response: httpx.Response) -> None:
    return None
